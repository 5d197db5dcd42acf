package model

import _ "embed"

// Source is the Go source of Model: its doc comments describe the fields of
// workload.model to an editor.
//
//go:embed model.go
var Source []byte
