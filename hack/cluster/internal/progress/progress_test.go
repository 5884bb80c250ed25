package progress

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func newLog(t *testing.T, remember string) (*Log, *bytes.Buffer) {
	t.Helper()
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = null.Close() })
	var file bytes.Buffer
	return New(null, &file, remember), &file
}

func TestStepsAreListedWithTheirOutcome(t *testing.T) {
	l, file := newLog(t, "")
	_ = l.Run("first", func(func(string)) error { return nil })
	failure := errors.New("broken")
	if err := l.Run("second", func(func(string)) error { return failure }); !errors.Is(err, failure) {
		t.Errorf("the step's error was lost: %v", err)
	}
	table := l.Table()
	for _, want := range []string{"first", "second (failed)"} {
		if !strings.Contains(table, want) {
			t.Errorf("no %q in %s", want, table)
		}
	}
	if !strings.Contains(file.String(), "✓ first") || !strings.Contains(file.String(), "✗ second") {
		t.Errorf("the log file has:\n%s", file)
	}
}

func TestDurationsAreRemembered(t *testing.T) {
	memory := filepath.Join(t.TempDir(), "durations.json")
	if err := os.WriteFile(memory, []byte(`{"build":185000000000}`), 0o600); err != nil {
		t.Fatal(err)
	}
	l, file := newLog(t, memory)
	_ = l.Run("build", func(func(string)) error { return nil })
	if !strings.Contains(file.String(), "(last time 3m05s)") {
		t.Errorf("the log file has:\n%s", file)
	}
}

func TestTableIsAppendedOnlyWhenMoreThanAgesChange(t *testing.T) {
	l, file := newLog(t, "")
	l.Show("NAME   READY   AGE\na      False   1s")
	l.Show("NAME   READY   AGE\na      False   2s")
	l.Show("NAME   READY   AGE\na      True    3s")
	if got := strings.Count(file.String(), "NAME"); got != 2 {
		t.Errorf("%d tables in:\n%s", got, file)
	}
}

func TestShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		4210 * time.Millisecond:                 "4.2s",
		58 * time.Second:                        "58s",
		3*time.Minute + 5*time.Second:           "3m05s",
		2*time.Hour + time.Minute + time.Second: "121m01s",
	} {
		if got := Short(d); got != want {
			t.Errorf("%s: got %s, want %s", d, got, want)
		}
	}
}
