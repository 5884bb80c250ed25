// Command mutate changes the risk gate in one place at a time and looks whether
// its tests notice: a change that nobody notices is a limit that nobody tests.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"
)

// patience is how long the tests of one change may take; an endless loop counts
// as noticed.
const patience = 2 * time.Minute

func main() {
	folder := flag.String("package", "internal/risk", "folder of the package")
	files := flag.String("files", "gate.go,exposure.go", "files of it that are changed")
	least := flag.Float64("least", 95, "per cent of the changes that must be noticed")
	every := flag.Int("every", 1, "try only one change in so many, for a quick look")
	flag.Parse()
	if err := run(context.Background(), *folder, strings.Split(*files, ","), *every, *least); err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, folder string, files []string, every int, least float64) error {
	var mutants []mutant
	for _, file := range files {
		found, err := mutate(filepath.Join(folder, file))
		if err != nil {
			return err
		}
		for i := 0; i < len(found); i += max(every, 1) {
			mutants = append(mutants, found[i])
		}
	}
	if len(mutants) == 0 {
		return fmt.Errorf("nothing can be changed in %s", folder)
	}
	work, err := os.MkdirTemp("", "mutate")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(work) }()
	if outcome, output, err := try(ctx, folder, work, nil); err != nil || outcome != survived {
		return fmt.Errorf("the tests fail without any change: %w\n%s", err, output)
	}
	counts, survivors, err := tryAll(ctx, folder, work, mutants)
	if err != nil {
		return err
	}
	for _, survivor := range survivors {
		fmt.Println("not noticed:", survivor)
	}
	tried := counts[killed] + counts[survived]
	if tried == 0 {
		return fmt.Errorf("no change of %s compiles", folder)
	}
	score := 100 * float64(counts[killed]) / float64(tried)
	fmt.Printf("%d of %d changes were noticed: %.1f per cent; %d more do not compile\n", counts[killed], tried, score, counts[stillborn])
	if score < least {
		return fmt.Errorf("%.1f per cent is less than %.0f", score, least)
	}
	return nil
}

// tryAll tries every change, as many at a time as there are processors.
func tryAll(ctx context.Context, folder, work string, mutants []mutant) (counts [3]int, survivors []string, err error) {
	var mu sync.Mutex
	var workers sync.WaitGroup
	next := make(chan *mutant)
	for n := range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			own := filepath.Join(work, strconv.Itoa(n))
			for m := range next {
				outcome, _, failed := try(ctx, folder, own, m)
				mu.Lock()
				counts[outcome]++
				if failed != nil {
					err = failed
				} else if outcome == survived {
					survivors = append(survivors, m.what)
				}
				mu.Unlock()
			}
		})
	}
	for i := range mutants {
		next <- &mutants[i]
	}
	close(next)
	workers.Wait()
	return counts, survivors, err
}

// What becomes of a change.
const (
	survived = iota
	killed
	stillborn
)

// try runs the tests with a change.
func try(ctx context.Context, folder, work string, m *mutant) (outcome int, output []byte, err error) {
	if err := os.MkdirAll(work, 0o750); err != nil {
		return survived, nil, err
	}
	replaced := map[string]string{}
	if m != nil {
		changed := filepath.Join(work, "changed.go")
		if err := os.WriteFile(changed, m.source, 0o600); err != nil {
			return survived, nil, err
		}
		file, err := filepath.Abs(m.file)
		if err != nil {
			return survived, nil, err
		}
		replaced[file] = changed
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replaced})
	if err != nil {
		return survived, nil, err
	}
	path := filepath.Join(work, "overlay.json")
	if err := os.WriteFile(path, overlay, 0o600); err != nil {
		return survived, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	command := exec.CommandContext(ctx, "go", "test", "-short", "-vet=off", "-count=1", "-failfast", "-overlay", path, "./"+folder) //nolint:gosec // the folder is the caller's own
	output, failed := command.CombinedOutput()
	switch {
	case bytes.Contains(output, []byte("[build failed]")):
		return stillborn, output, nil
	case failed != nil:
		return killed, output, nil
	}
	return survived, output, nil
}

// mutant is a file with one change.
type mutant struct {
	file, what string
	source     []byte
}

// mutate makes every change of a file, one at a time.
func mutate(path string) ([]mutant, error) {
	fset := token.NewFileSet()
	tree, err := parser.ParseFile(fset, path, nil, parser.ParseComments)
	if err != nil {
		return nil, err
	}
	var mutants []mutant
	failed := error(nil)
	each(tree, func(node ast.Node, what string) {
		var source bytes.Buffer
		if err := format.Node(&source, fset, tree); err != nil {
			failed = err
			return
		}
		at := fset.Position(node.Pos())
		mutants = append(mutants, mutant{path, fmt.Sprintf("%s:%d: %s", path, at.Line, what), source.Bytes()})
	})
	return mutants, failed
}
