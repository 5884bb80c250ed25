package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
)

// child is this program in another role. It does one thing after another, as it is
// told in lines of JSON, and answers each with a line.
type child struct {
	command *exec.Cmd
	orders  io.WriteCloser
	answers *bufio.Scanner
}

// start runs this program in a role until the context ends or stop is called.
func start(ctx context.Context, arguments ...string) (*child, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	c := &child{command: exec.CommandContext(ctx, program, arguments...)} //nolint:gosec // It runs itself.
	c.command.Stderr = os.Stderr
	if c.orders, err = c.command.StdinPipe(); err != nil {
		return nil, fmt.Errorf("start %v: %w", arguments, err)
	}
	answers, err := c.command.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start %v: %w", arguments, err)
	}
	c.answers = bufio.NewScanner(answers)
	if err := c.command.Start(); err != nil {
		return nil, fmt.Errorf("start %v: %w", arguments, err)
	}
	return c, nil
}

// order is what a child is told. Each role reads the fields that it needs.
type order struct {
	Do      string `json:"do"`
	Rate    int    `json:"rate,omitempty"`
	Size    int    `json:"size,omitempty"`
	Clients int    `json:"clients,omitempty"`
	Stalled int    `json:"stalled,omitempty"`
	// Target is where the server listens.
	Target *target `json:"target,omitempty"`
	// Key to come with; the target's own if empty.
	Key string `json:"key,omitempty"`
}

// ask sends an order and reads the answer.
func (c *child) ask(o order, answer any) error {
	text, err := json.Marshal(o)
	if err != nil {
		return fmt.Errorf("ask a child to %s: %w", o.Do, err)
	}
	if _, err := c.orders.Write(append(text, '\n')); err != nil {
		return fmt.Errorf("ask a child to %s: %w", o.Do, err)
	}
	if !c.answers.Scan() {
		return fmt.Errorf("a child did not %s: %w", o.Do, errors.Join(c.answers.Err(), io.ErrUnexpectedEOF))
	}
	if err := json.Unmarshal(c.answers.Bytes(), answer); err != nil {
		return fmt.Errorf("a child says %q to %s: %w", c.answers.Text(), o.Do, err)
	}
	return nil
}

// stop ends the child: it ends when it is told nothing more.
func (c *child) stop() error {
	if err := errors.Join(c.orders.Close(), c.command.Wait()); err != nil {
		return fmt.Errorf("end a child: %w", err)
	}
	return nil
}

// obey carries out orders until there are no more.
func obey(orders io.Reader, answers io.Writer, do func(order) (any, error)) error {
	lines := bufio.NewScanner(orders)
	encoder := json.NewEncoder(answers)
	for lines.Scan() {
		var o order
		if err := json.Unmarshal(lines.Bytes(), &o); err != nil {
			return fmt.Errorf("read an order: %w", err)
		}
		answer, err := do(o)
		if err != nil {
			return fmt.Errorf("%s: %w", o.Do, err)
		}
		if err := encoder.Encode(answer); err != nil {
			return fmt.Errorf("answer: %w", err)
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read an order: %w", err)
	}
	return nil
}
