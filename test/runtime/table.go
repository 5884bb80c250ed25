package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"
)

// row of the table. The target and whether it is met are empty where there is none.
type row struct{ what, measured, target, met string }

func met(yes bool) string {
	if yes {
		return "met"
	}
	return "MISSED"
}

// within is whether a time is at most another one, and by how much it is not.
func within(measured, most time.Duration) string {
	if measured <= most {
		return "met"
	}
	return fmt.Sprintf("MISSED by %.1f×", float64(measured)/float64(most))
}

func perSecond(count float64) string {
	digits := fmt.Sprintf("%.0f", count)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits + " /s"
}

// write prints the table below the machine and the commit.
func write(ctx context.Context, output io.Writer, rows []row) error {
	table := tabwriter.NewWriter(output, 0, 0, 2, ' ', 0)
	_, err := fmt.Fprintf(output, "%s, %d cores (GOMAXPROCS %d), load %s, %s, commit %s, %s\n\n",
		processor(), runtime.NumCPU(), runtime.GOMAXPROCS(0), load(), runtime.Version(), commit(ctx), time.Now().UTC().Format(time.RFC3339))
	if err != nil {
		return err
	}
	for _, r := range append([]row{{"MEASURE", "MEASURED", "TARGET", ""}}, rows...) {
		if _, err := fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", r.what, r.measured, r.target, r.met); err != nil {
			return err
		}
	}
	return table.Flush()
}

// processor is what Linux calls the machine's.
func processor() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err == nil {
		for line := range strings.Lines(string(text)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				return strings.TrimSpace(value)
			}
		}
	}
	return runtime.GOOS + "/" + runtime.GOARCH
}

// load is how many processes want a processor, by the last minute.
func load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	word, _, _ := strings.Cut(string(text), " ")
	return word
}

// commit that is measured, with a mark if the tree has changes.
func commit(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}
