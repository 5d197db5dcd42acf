package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
)

// build makes the archive of two files that stand for the binaries.
func build(t *testing.T) []byte {
	t.Helper()
	dir := t.TempDir()
	binaries := map[string]string{}
	for _, p := range []string{"linux/amd64", "linux/arm64"} {
		binaries[p] = filepath.Join(dir, strings.ReplaceAll(p, "/", "-"))
		if err := os.WriteFile(binaries[p], []byte("for "+p), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	index, err := indexOf([]string{"linux/amd64", "linux/arm64"}, binaries, "abc", time.Unix(1700000000, 0).UTC())
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := archive(&b, filepath.Join(dir, "layout"), "hpabench/hpabench:dev", index); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestImage(t *testing.T) {
	content := build(t)
	if !bytes.Equal(content, build(t)) {
		t.Error("the same binaries give other bytes")
	}
	dir := t.TempDir()
	files := tar.NewReader(bytes.NewReader(content))
	for {
		h, err := files.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(dir, filepath.FromSlash(h.Name))
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(files)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	all, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := all.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if n := len(manifest.Manifests); n != 1 || !strings.HasSuffix(manifest.Manifests[0].Annotations["io.containerd.image.name"], "/hpabench/hpabench:dev") {
		t.Fatalf("index.json: %+v", manifest.Manifests)
	}
	index, err := all.ImageIndex(manifest.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []v1.Platform{{OS: "linux", Architecture: "amd64"}, {OS: "linux", Architecture: "arm64"}} {
		check(t, index, p)
	}
}

// check looks at the image for a platform as a runtime would.
func check(t *testing.T, index v1.ImageIndex, p v1.Platform) {
	t.Helper()
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range manifest.Manifests {
		if !m.Platform.Satisfies(p) {
			continue
		}
		img, err := index.Image(m.Digest)
		if err != nil {
			t.Fatal(err)
		}
		config, err := img.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		if c := config.Config; c.User != nobody || len(c.Entrypoint) != 1 || c.Entrypoint[0] != "/hpabench" || config.Architecture != p.Architecture {
			t.Errorf("%s: %+v", p, config)
		}
		layers, err := img.Layers()
		if err != nil || len(layers) != 1 {
			t.Fatalf("%s: %d layers, %v", p, len(layers), err)
		}
		files, err := layers[0].Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		r := tar.NewReader(files)
		h, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(r)
		if h.Name != "hpabench" || h.Mode != binaryMode || string(b) != "for "+p.String() {
			t.Errorf("%s: %s, mode %o: %q", p, h.Name, h.Mode, b)
		}
		return
	}
	t.Errorf("there is no image for %s", p)
}
