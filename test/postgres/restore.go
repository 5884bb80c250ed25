package postgres

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Copy stops the server, copies its files and starts it again. It returns the copy,
// for Restore.
func (s *Server) Copy(tb testing.TB) string {
	tb.Helper()
	copied := filepath.Join(s.dir, fmt.Sprintf("copy-%d", time.Now().UnixNano()))
	s.offline(tb, func() error { return duplicate(s.data(), copied) })
	return copied
}

// Restore stops the server, puts a copy in the place of its files and starts it
// again, as somebody does who has lost them: what came after the copy is forgotten.
func (s *Server) Restore(tb testing.TB, copied string) {
	tb.Helper()
	s.offline(tb, func() error {
		if err := os.RemoveAll(s.data()); err != nil {
			return err
		}
		return duplicate(copied, s.data())
	})
}

// Branch stops the server and starts it on a new timeline, as a fail-over does.
func (s *Server) Branch(tb testing.TB) {
	tb.Helper()
	s.offline(tb, func() error {
		signal := filepath.Join(s.data(), "recovery.signal")
		if err := os.WriteFile(signal, nil, 0o600); err != nil {
			return err
		}
		settings := filepath.Join(s.data(), "postgresql.auto.conf")
		if err := os.WriteFile(settings, []byte("restore_command = 'false'\n"), 0o600); err != nil {
			return err
		}
		if os.Geteuid() != 0 {
			return nil
		}
		return errors.Join(os.Chown(signal, nobody, nobody), os.Chown(settings, nobody, nobody))
	})
}

// offline does something to the files of the server while it is down.
func (s *Server) offline(tb testing.TB, work func() error) {
	tb.Helper()
	if err := s.Stop(false); err != nil {
		tb.Fatal("stopping the server:", err)
	}
	if err := work(); err != nil {
		tb.Fatal("changing the server's files:", err)
	}
	if err := s.StartAgain(); err != nil {
		tb.Fatal("starting the server again:", err)
	}
}

// duplicate copies a directory with the owners of its files.
func duplicate(from, to string) error {
	if out, err := program("/bin", "cp", "-a", from, to).CombinedOutput(); err != nil {
		return fmt.Errorf("copying %s: %w: %s", from, err, out)
	}
	return nil
}
