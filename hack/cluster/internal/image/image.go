// Package image assembles container images from files, without an engine and
// without a registry. The same content always gives the same image, whose tag
// is a hash of it, so that only what changed is rolled out.
package image

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"path"
	"runtime"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// User is the numeric user and group of every image; Kubernetes can only check
// runAsNonRoot against a number.
const User = 65532

// Registry prefixes the names of the images that belong to this project.
const Registry = "ghcr.io/three-rivers-tech/trading-operator/"

// File is one entry of an image. Exactly one of Data, Source and Link is set,
// or Dir.
type File struct {
	Path   string // absolute
	Mode   int64
	Data   []byte
	Source string // file on this machine
	Link   string // symlink target
	Dir    bool
	Owner  int // user and group
}

// Spec describes an image.
type Spec struct {
	Name       string // without tag
	Files      []File
	Entrypoint []string
	Env        []string
}

// Image is an assembled image.
type Image struct {
	Ref string // name:tag
	img v1.Image
}

// Program is the spec of an image that holds one static program at /<base name>.
func Program(repository, file string) (Spec, error) {
	base, err := Base()
	if err != nil {
		return Spec{}, err
	}
	at := "/" + path.Base(repository)
	return Spec{
		Name:       repository,
		Files:      append(base, File{Path: at, Mode: 0o755, Source: file}),
		Entrypoint: []string{at},
	}, nil
}

// Base is what every image has: users, certificates of public authorities and a /tmp.
func Base() ([]File, error) {
	const bundle = "/etc/ssl/certs/ca-certificates.crt"
	certificates, err := os.ReadFile(bundle)
	if err != nil {
		return nil, fmt.Errorf("read the certificates of public authorities, install ca-certificates: %w", err)
	}
	return []File{
		{Path: "/etc/passwd", Mode: 0o644, Data: fmt.Appendf(nil, "root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:%d:%d:nonroot:/home/nonroot:/sbin/nologin\n", User, User)},
		{Path: "/etc/group", Mode: 0o644, Data: fmt.Appendf(nil, "root:x:0:\nnonroot:x:%d:\n", User)},
		{Path: bundle, Mode: 0o644, Data: certificates},
		{Path: "/home/nonroot", Mode: 0o700, Dir: true, Owner: User},
		{Path: "/tmp", Mode: 0o1777, Dir: true},
	}, nil
}

// Assemble builds the image of one layer.
func Assemble(spec Spec) (*Image, error) {
	layer, err := pack(spec.Files)
	if err != nil {
		return nil, fmt.Errorf("assemble image %s: %w", spec.Name, err)
	}
	img, err := mutate.AppendLayers(mutate.MediaType(empty.Image, types.DockerManifestSchema2), static.NewLayer(layer, types.DockerUncompressedLayer))
	if err != nil {
		return nil, fmt.Errorf("assemble image %s: %w", spec.Name, err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", runtime.GOARCH
	config.Config = v1.Config{
		Entrypoint: spec.Entrypoint,
		User:       fmt.Sprintf("%d:%d", User, User),
		Env:        append([]string{"PATH=/usr/bin:/bin"}, spec.Env...),
		WorkingDir: "/",
	}
	if img, err = mutate.ConfigFile(img, config); err != nil {
		return nil, err
	}
	id, err := img.ConfigName() // covers the configuration and, by their digests, the layers
	if err != nil {
		return nil, err
	}
	return &Image{Ref: spec.Name + ":" + id.Hex[:12], img: img}, nil
}

// Write writes the image as an archive that containerd, Docker and Podman load.
func (i *Image) Write(w io.Writer) error {
	ref, err := name.NewTag(i.Ref)
	if err != nil {
		return err
	}
	return tarball.Write(ref, i.img, w)
}

// pack makes a tar of files in the order of their paths, with every parent
// directory, at the epoch.
func pack(files []File) ([]byte, error) {
	entries := map[string]File{}
	for _, f := range files {
		f.Path = path.Clean(f.Path)
		if !path.IsAbs(f.Path) {
			return nil, fmt.Errorf("path %q is not absolute", f.Path)
		}
		entries[f.Path] = f
	}
	for _, f := range files {
		for dir := path.Dir(path.Clean(f.Path)); dir != "/"; dir = path.Dir(dir) {
			if _, ok := entries[dir]; !ok {
				entries[dir] = File{Path: dir, Mode: 0o755, Dir: true}
			}
		}
	}
	paths := make([]string, 0, len(entries))
	for p := range entries {
		paths = append(paths, p)
	}
	slices.Sort(paths)
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, p := range paths {
		if err := entries[p].write(w); err != nil {
			return nil, fmt.Errorf("%s: %w", p, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

func (f File) write(w *tar.Writer) error {
	header := &tar.Header{Name: strings.TrimPrefix(f.Path, "/"), Mode: f.Mode, Uid: f.Owner, Gid: f.Owner, Typeflag: tar.TypeReg, Format: tar.FormatPAX}
	data := f.Data
	switch {
	case f.Dir:
		header.Typeflag, header.Name = tar.TypeDir, header.Name+"/"
	case f.Link != "":
		header.Typeflag, header.Linkname, header.Mode = tar.TypeSymlink, f.Link, 0o777
	case f.Source != "":
		var err error
		if data, err = os.ReadFile(f.Source); err != nil {
			return err
		}
	}
	header.Size = int64(len(data))
	if err := w.WriteHeader(header); err != nil {
		return err
	}
	_, err := w.Write(data)
	return err
}
