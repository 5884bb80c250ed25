package database

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

func TestUnavailable(t *testing.T) {
	for code, want := range map[string]bool{
		"08006": true, "28P01": true, "3D000": true, "53300": true, "57P01": true, "57P03": true, "57014": true, "55P03": true,
		"25006": true, "58030": true,
		"23505": false, "23514": false, "40001": false, "42P01": false, "42501": false, "55006": false, "57000": false,
	} {
		err := fmt.Errorf("doing something: %w", &pgconn.PgError{Severity: "ERROR", Code: code, Message: "no"})
		if got := unavailable(err); got != want {
			t.Errorf("SQLSTATE %s is unavailable: %t, want %t", code, got, want)
		}
		cleaned := hider{}.clean(err)
		if got := errors.Is(cleaned, ErrUnavailable); got != want {
			t.Errorf("SQLSTATE %s is ErrUnavailable: %t, want %t", code, got, want)
		}
		if answer, ok := errors.AsType[*pgconn.PgError](cleaned); !ok || answer.Code != code {
			t.Errorf("SQLSTATE %s was lost on the way: %v", code, cleaned)
		}
	}
	for _, err := range []error{io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, context.DeadlineExceeded, &net.DNSError{Err: "no such host", Name: "x"}} {
		if !unavailable(fmt.Errorf("reading: %w", err)) {
			t.Errorf("%v is not unavailable", err)
		}
	}
	for _, err := range []error{errors.New("a refusal"), pgx.ErrNoRows} {
		if unavailable(err) {
			t.Errorf("%v is unavailable", err)
		}
	}
}

func TestAnswered(t *testing.T) {
	for name, test := range map[string]struct {
		err  error
		want bool
	}{
		"a constraint that fails at the commit":  {&pgconn.PgError{SeverityUnlocalized: "ERROR", Code: "23514"}, true},
		"a transaction that had failed":          {pgx.ErrTxCommitRollback, true},
		"a server that shuts down at the commit": {&pgconn.PgError{SeverityUnlocalized: "FATAL", Code: "57P01"}, false},
		"a server that crashes":                  {&pgconn.PgError{SeverityUnlocalized: "PANIC", Code: "XX000"}, false},
		"a connection that ends":                 {io.ErrUnexpectedEOF, false},
		"a time-out":                             {context.DeadlineExceeded, false},
	} {
		if got := answered(test.err); got != test.want {
			t.Errorf("%s is an answer: %t, want %t", name, got, test.want)
		}
	}
}

func TestCleanIsStableAndSilent(t *testing.T) {
	h := newHider("p@ss w/rd", "")
	broken := func(port int) error {
		return &net.OpError{
			Op: "read", Net: "tcp", Err: errors.New("connection reset by peer"),
			Source: &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: port}, Addr: &net.TCPAddr{IP: net.IPv4(10, 0, 0, 2), Port: 5432},
		}
	}
	first, second := h.clean(broken(40001)), h.clean(broken(40002))
	if first.Error() != second.Error() {
		t.Errorf("the same fault is told as %q and as %q", first, second)
	}
	if want := "the database is unavailable: read tcp 10.0.0.2:5432: connection reset by peer"; first.Error() != want {
		t.Errorf("%q, want %q", first, want)
	}
	for _, told := range []string{"p@ss w/rd", "p%40ss+w%2Frd", "p%40ss%20w%2Frd"} {
		if got := h.clean(errors.New("it is " + told)).Error(); got != "it is xxxxx" {
			t.Errorf("%q became %q", told, got)
		}
	}
	plain := errors.New("a refusal")
	if got := h.clean(plain); !errors.Is(got, plain) || got.Error() != plain.Error() {
		t.Errorf("an error without a secret became %v", got)
	}
	if h.clean(nil) != nil {
		t.Error("no error became one")
	}
}
