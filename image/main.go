// Command image builds the container image of hpabench without a container engine:
// the command alone, in one layer on nothing, for several platforms. It writes an
// OCI layout as a tar archive, which kind, containerd, podman and docker load, and
// crane and skopeo push. The same commit gives the same bytes.
package main

import (
	"archive/tar"
	"bytes"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/distribution/reference"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

const (
	// nobody is the user that the command runs as.
	nobody = "65532:65532"

	// binaryMode lets everybody run the command, and nobody change it.
	binaryMode = 0o555
)

func main() {
	name := flag.String("name", "hpabench/hpabench:dev", "of the image")
	platforms := flag.String("platforms", "linux/amd64,linux/arm64", "to build for")
	out := flag.String("o", "dist/hpabench-image.tar", "archive to write")
	flag.Parse()
	if err := run(*name, strings.Split(*platforms, ","), *out); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

func run(name string, platforms []string, out string) error {
	dir, err := os.MkdirTemp("", "hpabench-image-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	commit, err := exec.Command("git", "log", "-1", "--format=%ct %H").Output()
	if err != nil {
		return fmt.Errorf("asking git for the commit: %w", err)
	}
	seconds, revision, _ := strings.Cut(strings.TrimSpace(string(commit)), " ")
	stamp, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return err
	}
	binaries := map[string]string{}
	for _, p := range platforms {
		os_, arch, _ := strings.Cut(p, "/")
		binaries[p] = filepath.Join(dir, os_+"-"+arch)
		build := exec.Command("go", "build", "-tags", "kustomize_disable_go_plugin_support", "-trimpath", "-ldflags=-s -w", "-o", binaries[p], "./cmd/hpabench")
		build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+os_, "GOARCH="+arch)
		build.Stderr = os.Stderr
		if err := build.Run(); err != nil {
			return fmt.Errorf("building for %s: %w", p, err)
		}
	}
	index, err := indexOf(platforms, binaries, revision, time.Unix(stamp, 0).UTC())
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(out), 0o777); err != nil {
		return err
	}
	file, err := os.Create(out)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := archive(file, filepath.Join(dir, "layout"), name, index); err != nil {
		return err
	}
	return file.Close()
}

// indexOf is an image for each platform, of its binary.
func indexOf(platforms []string, binaries map[string]string, revision string, made time.Time) (v1.ImageIndex, error) {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, p := range platforms {
		layer, err := layerOf(binaries[p], made)
		if err != nil {
			return nil, err
		}
		img, err := mutate.Append(mutate.MediaType(mutate.ConfigMediaType(empty.Image, types.OCIConfigJSON), types.OCIManifestSchema1),
			mutate.Addendum{Layer: layer, History: v1.History{Created: v1.Time{Time: made}, CreatedBy: "make image"}})
		if err != nil {
			return nil, err
		}
		platform, err := v1.ParsePlatform(p)
		if err != nil {
			return nil, err
		}
		config, err := img.ConfigFile()
		if err != nil {
			return nil, err
		}
		config = config.DeepCopy()
		config.OS, config.Architecture, config.Created = platform.OS, platform.Architecture, v1.Time{Time: made}
		config.Config = v1.Config{Entrypoint: []string{"/hpabench"}, User: nobody, WorkingDir: "/", Labels: map[string]string{
			"org.opencontainers.image.title":    "hpabench",
			"org.opencontainers.image.revision": revision,
			"org.opencontainers.image.licenses": "Apache-2.0",
		}}
		if img, err = mutate.ConfigFile(img, config); err != nil {
			return nil, err
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: platform}})
	}
	return index, nil
}

// layerOf is a layer with the binary in it.
func layerOf(binary string, made time.Time) (v1.Layer, error) {
	content, err := os.ReadFile(binary)
	if err != nil {
		return nil, err
	}
	var files bytes.Buffer
	w := tar.NewWriter(&files)
	if err := w.WriteHeader(&tar.Header{Name: "hpabench", Mode: binaryMode, Size: int64(len(content)), ModTime: made}); err != nil {
		return nil, err
	}
	if _, err := w.Write(content); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(files.Bytes())), nil },
		tarball.WithMediaType(types.OCILayer))
}

// archive writes index as an OCI layout, by way of a folder.
func archive(w io.Writer, dir, name string, index v1.ImageIndex) error {
	ref, err := reference.ParseDockerRef(name)
	if err != nil {
		return err
	}
	path, err := layout.Write(dir, empty.Index)
	if err != nil {
		return err
	}
	// The second annotation is where containerd looks for the whole name.
	if err := path.AppendIndex(index, layout.WithAnnotations(map[string]string{
		"org.opencontainers.image.ref.name": ref.(reference.Tagged).Tag(), "io.containerd.image.name": ref.String()})); err != nil {
		return err
	}
	files := tar.NewWriter(w)
	err = filepath.WalkDir(dir, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		inside, err := filepath.Rel(dir, file)
		if err != nil {
			return err
		}
		if err := files.WriteHeader(&tar.Header{Name: filepath.ToSlash(inside), Mode: 0o644, Size: int64(len(content))}); err != nil {
			return err
		}
		_, err = files.Write(content)
		return err
	})
	if err != nil {
		return err
	}
	return files.Close()
}
