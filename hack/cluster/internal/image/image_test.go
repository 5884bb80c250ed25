package image

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

func spec(content string) Spec {
	return Spec{
		Name:       Registry + "hello",
		Files:      []File{{Path: "/bin/hello", Mode: 0o755, Data: []byte(content)}, {Path: "/usr/bin", Link: "../bin"}},
		Entrypoint: []string{"/bin/hello"},
	}
}

func assemble(t *testing.T, s Spec) *Image {
	t.Helper()
	img, err := Assemble(s)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func TestTagFollowsContent(t *testing.T) {
	first := assemble(t, spec("a"))
	if again := assemble(t, spec("a")); again.Ref != first.Ref {
		t.Errorf("the same content is tagged %s and %s", first.Ref, again.Ref)
	}
	if other := assemble(t, spec("b")); other.Ref == first.Ref {
		t.Error("another program has the same tag")
	}
	env := spec("a")
	env.Env = []string{"A=1"}
	if other := assemble(t, env); other.Ref == first.Ref {
		t.Error("another configuration has the same tag")
	}
}

func TestArchiveHoldsTheLayerWithParents(t *testing.T) {
	var archive bytes.Buffer
	if err := assemble(t, spec("a")).Write(&archive); err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(archive.Bytes(), []byte("manifest.json")) {
		t.Error("the archive has no manifest")
	}
	layer, err := pack(spec("a").Files)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for r := tar.NewReader(bytes.NewReader(layer)); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, header.Name)
	}
	if got := strings.Join(names, " "); got != "bin/ bin/hello usr/ usr/bin" {
		t.Errorf("entries: %s", got)
	}
}

func TestRelativePathIsRefused(t *testing.T) {
	if _, err := Assemble(Spec{Name: "x", Files: []File{{Path: "etc/passwd"}}}); err == nil {
		t.Error("a relative path is accepted")
	}
}
