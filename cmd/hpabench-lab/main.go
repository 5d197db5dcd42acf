package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/hpabench/hpabench/lab/folders"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	signal.Ignore(syscall.SIGPIPE) // who read the kubeconfig's path may be gone
	stderr := ownStderr()
	err := run(ctx, os.Args[1:], os.Stdin, os.Stdout, stderr)
	if err == nil {
		return
	}
	code := 1
	switch {
	case errors.Is(err, errInterrupted):
		code = 3 // as hpabench does
	case errors.As(err, new(usageError)):
		code = folders.ExitUsage
	}
	fmt.Fprintln(stderr, "hpabench-lab:", err)
	os.Exit(code)
}
