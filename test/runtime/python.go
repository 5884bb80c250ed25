package main

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"github.com/three-rivers-tech/trading-operator/internal/market"
)

//go:embed crossing.py
var crossingScript []byte

// rival is what another backtester makes of the same data by the same rule.
type rival struct {
	Name    string  `json:"name"`
	Bars    int64   `json:"bars"`
	Trades  int64   `json:"trades"`
	Seconds float64 `json:"seconds"`
}

func (r rival) perSecond() float64 { return float64(r.Bars) / r.Seconds }

// measurePython runs backtesting.py, if the interpreter has it.
func measurePython(ctx context.Context, interpreter string, bars []market.Bar) (rival, error) {
	directory, err := os.MkdirTemp("", "bench-runtime-")
	if err != nil {
		return rival{}, err
	}
	defer func() { _ = os.RemoveAll(directory) }()
	script, data := filepath.Join(directory, "crossing.py"), filepath.Join(directory, "bars.csv")
	var rows bytes.Buffer
	rows.WriteString("End,Open,High,Low,Close\n")
	for i := range bars {
		bar := &bars[i]
		for _, field := range []int64{bar.End.Unix(), int64(bar.Open), int64(bar.High), int64(bar.Low)} {
			rows.WriteString(strconv.FormatInt(field, 10) + ",")
		}
		rows.WriteString(strconv.FormatInt(int64(bar.Close), 10) + "\n")
	}
	if err := os.WriteFile(data, rows.Bytes(), 0o600); err != nil {
		return rival{}, err
	}
	if err := os.WriteFile(script, crossingScript, 0o600); err != nil {
		return rival{}, err
	}
	var said, complained bytes.Buffer
	command := exec.CommandContext(ctx, interpreter, script, data, strconv.Itoa(fastBars), strconv.Itoa(slowBars)) //nolint:gosec // the user names the interpreter
	command.Stdout, command.Stderr = &said, &complained
	if err := command.Run(); err != nil {
		return rival{}, fmt.Errorf("%w: %s", err, lastLine(complained.String()))
	}
	var measured rival
	if err := json.Unmarshal(said.Bytes(), &measured); err != nil {
		return rival{}, fmt.Errorf("its output cannot be read: %w", err)
	}
	return measured, nil
}

func lastLine(text string) string {
	lines := bytes.Split(bytes.TrimSpace([]byte(text)), []byte("\n"))
	return string(lines[len(lines)-1])
}
