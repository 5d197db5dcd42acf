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
	switch err := run(ctx, os.Args[1:], os.Stdin, os.Stdout, stderr); {
	case errors.Is(err, errInterrupted):
		fmt.Fprintln(stderr, "hpabench-lab:", err)
		os.Exit(3) // as hpabench does
	case errors.Is(err, errUsage):
		fmt.Fprintln(stderr, err)
		os.Exit(folders.ExitUsage)
	case err != nil:
		fmt.Fprintln(stderr, "hpabench-lab:", err)
		os.Exit(1)
	}
}
