// Package progress tells a person at a terminal, or a log file, which steps
// run, for how long, and how long they took last time.
package progress

import (
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/files"
)

const (
	redrawEvery    = 500 * time.Millisecond
	heartbeatEvery = 30 * time.Second
)

// Log prints steps to a terminal, where the running ones share a line that is
// redrawn, or appends lines elsewhere. Everything but the redrawn line also
// goes to the log file.
type Log struct {
	// Remember is the file that keeps how long steps took; "" keeps nothing.
	Remember string

	out  io.Writer
	file io.Writer
	tty  bool

	mu     sync.Mutex
	start  time.Time
	active []*step
	done   []Timing
	known  map[string]time.Duration
	drawn  bool
	beat   time.Time
	table  string // shown last
	below  int    // lines printed since
}

type step struct {
	name   string
	begin  time.Time
	detail string
}

// Timing is one finished step.
type Timing struct {
	Name        string
	Start, Took time.Duration // Start counts from the beginning of the log
	Failed      bool
}

// New writes to out and to file; file may be io.Discard.
func New(out *os.File, file io.Writer, remember string) *Log {
	l := &Log{
		Remember: remember, out: out, file: file, tty: term.IsTerminal(int(out.Fd())),
		start: time.Now(), known: map[string]time.Duration{}, beat: time.Now(),
	}
	if data, err := fs.ReadFile(os.DirFS(filepath.Dir(remember)), filepath.Base(remember)); err == nil {
		_ = json.Unmarshal(data, &l.known) // a damaged memory is only forgotten
	}
	return l
}

// Terminal reports whether lines can be redrawn.
func (l *Log) Terminal() bool { return l.tty }

// Elapsed is the time since the log began.
func (l *Log) Elapsed() time.Duration { return time.Since(l.start) }

// Run executes one named step. do may report details of where it is.
func (l *Log) Run(name string, do func(detail func(string)) error) error {
	s := &step{name: name, begin: time.Now()}
	l.mu.Lock()
	l.active = append(l.active, s)
	if !l.tty {
		l.printLocked("  → " + name + l.estimate(name))
	}
	l.mu.Unlock()
	stop := make(chan struct{})
	go l.tick(stop)
	err := do(func(detail string) {
		l.mu.Lock()
		defer l.mu.Unlock()
		s.detail = detail
	})
	close(stop)
	l.finish(s, err)
	return err
}

func (l *Log) finish(s *step, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, a := range l.active {
		if a == s {
			l.active = append(l.active[:i], l.active[i+1:]...)
			break
		}
	}
	took := time.Since(s.begin)
	l.done = append(l.done, Timing{Name: s.name, Start: s.begin.Sub(l.start), Took: took, Failed: err != nil})
	if err != nil {
		l.printLocked(fmt.Sprintf("  ✗ %-52s %s", s.name, Short(took)))
		return
	}
	l.printLocked(fmt.Sprintf("  ✓ %-52s %s", s.name, Short(took)))
	if l.Remember != "" && took > time.Second {
		l.known[s.name] = took
		l.store()
	}
}

// store keeps the durations; not being able to costs only the next estimate.
func (l *Log) store() {
	data, err := json.Marshal(l.known)
	if err != nil {
		return
	}
	if files.MakeDir(filepath.Dir(l.Remember)) == nil {
		_ = files.Replace(l.Remember, data, 0o644)
	}
}

// Printf prints a line of its own.
func (l *Log) Printf(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.printLocked(fmt.Sprintf(format, args...))
}

// withoutAges drops the last column of kubectl's table, which changes every second.
func withoutAges(table string) string {
	var b strings.Builder
	for line := range strings.Lines(table) {
		if cut := strings.LastIndexByte(strings.TrimSpace(line), ' '); cut >= 0 {
			line = line[:cut]
		}
		b.WriteString(strings.TrimSpace(line) + "\n")
	}
	return b.String()
}

// Filef writes to the log file only.
func (l *Log) Filef(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, _ = fmt.Fprintf(l.file, "%8s %s\n", Short(time.Since(l.start)), fmt.Sprintf(format, args...))
}

func (l *Log) printLocked(line string) {
	if l.drawn {
		_, _ = fmt.Fprint(l.out, "\r\x1b[K")
		l.drawn = false
	}
	_, _ = fmt.Fprintln(l.out, line)
	l.below++
	_, _ = fmt.Fprintf(l.file, "%8s %s\n", Short(time.Since(l.start)), line)
}

// Show replaces the table shown last on a terminal; elsewhere it appends the
// table when it has changed.
func (l *Log) Show(table string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if table == l.table || (!l.tty && withoutAges(table) == withoutAges(l.table)) {
		return
	}
	if l.tty && l.table != "" && l.below == 0 {
		if l.drawn {
			_, _ = fmt.Fprint(l.out, "\r\x1b[K")
			l.drawn = false
		}
		_, _ = fmt.Fprintf(l.out, "\x1b[%dA\x1b[J", strings.Count(l.table, "\n")+2)
	}
	l.table = table
	l.printLocked("\n" + table)
	l.below = 0
}

func (l *Log) tick(stop <-chan struct{}) {
	ticker := time.NewTicker(redrawEvery)
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return
		case <-ticker.C:
			l.redraw()
		}
	}
}

func (l *Log) redraw() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.active) == 0 {
		return
	}
	var parts []string
	for _, s := range l.active {
		text := s.name + " " + Short(time.Since(s.begin)) + l.estimate(s.name)
		if s.detail != "" {
			text += ", " + s.detail
		}
		parts = append(parts, text)
	}
	line := "  … " + strings.Join(parts, " · ")
	if l.tty {
		if width, _, err := term.GetSize(int(l.out.(*os.File).Fd())); err == nil && width > 1 && len([]rune(line)) >= width {
			line = string([]rune(line)[:width-1])
		}
		_, _ = fmt.Fprint(l.out, "\r\x1b[K"+line)
		l.drawn = true
	} else if time.Since(l.beat) > heartbeatEvery {
		l.printLocked(line)
		l.beat = time.Now()
	}
}

func (l *Log) estimate(name string) string {
	if last, ok := l.known[name]; ok {
		return " (last time " + Short(last) + ")"
	}
	return ""
}

// Table lists the finished steps with their start and duration.
func (l *Log) Table() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "\n  %-52s %9s %9s\n", "where the time went", "from", "took")
	for _, t := range l.done {
		name := t.Name
		if t.Failed {
			name += " (failed)"
		}
		fmt.Fprintf(&b, "  %-52s %9s %9s\n", name, Short(t.Start), Short(t.Took))
	}
	fmt.Fprintf(&b, "  %-52s %9s %9s\n", "all", "", Short(time.Since(l.start)))
	return b.String()
}

// Short prints a duration as 4.2s, 58s or 3m05s.
func Short(d time.Duration) string {
	switch {
	case d < 10*time.Second:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%.0fs", d.Seconds())
	default:
		d = d.Round(time.Second)
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	}
}
