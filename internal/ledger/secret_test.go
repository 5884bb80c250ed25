package ledger_test

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"

	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/ledger/database"
	"github.com/three-rivers-tech/trading-operator/internal/order"
)

// No error that comes from a connection URI tells its password, in whatever
// way it is printed.
func TestPasswordIsNeverTold(t *testing.T) {
	const secret = "hunter2/p@ss w%rd"
	address, err := url.Parse(server.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	with := func(change func(*url.URL)) string {
		u := *address
		u.User = url.UserPassword("trading", secret)
		change(&u)
		return u.String()
	}
	for name, test := range map[string]struct {
		uri         string
		unavailable bool
	}{
		"nothing at all":              {"", false},
		"blanks":                      {" \n", false},
		"not a URI":                   {"password=" + secret + " port=x", false},
		"a raw password":              {"postgres://trading:" + secret + "@127.0.0.1:5432/x", false},
		"a password without a host":   {"postgres://trading:" + secret, false},
		"a port that is no number":    {"postgres://trading:hunter2@127.0.0.1:hunter2/x", false},
		"another scheme":              {"mysql://trading:hunter2@127.0.0.1/x", false},
		"an unknown sslmode":          {with(func(u *url.URL) { u.RawQuery = "sslmode=hunter2" }), false},
		"a certificate that is not":   {with(func(u *url.URL) { u.RawQuery = "sslmode=verify-full&sslrootcert=/hunter2" }), false},
		"a password as a parameter":   {"postgres://127.0.0.1:1/x?connect_timeout=hunter2&password=hunter2", false},
		"a control character":         {"postgres://trading:hunter2\x01@127.0.0.1:1/x", true},
		"nobody listening":            {with(func(u *url.URL) { u.Host = closedPort(t) }), true},
		"a host that does not exist":  {with(func(u *url.URL) { u.Host = "nowhere.invalid:5432" }), true},
		"the wrong password":          {with(func(*url.URL) {}), true},
		"the wrong password, by word": {"host=127.0.0.1 port=" + address.Port() + " user=trading password='" + secret + "' dbname=x sslmode=disable", true},
	} {
		t.Run(name, func(t *testing.T) {
			_, openErr := ledger.Open(t.Context(), test.uri)
			_, migrateErr := ledger.Migrate(t.Context(), test.uri)
			_, versionErr := ledger.SchemaVersion(t.Context(), test.uri)
			_, infoErr := ledger.Info(t.Context(), test.uri)
			calls := map[string]error{
				"Open": openErr, "Migrate": migrateErr, "SchemaVersion": versionErr, "Info": infoErr,
				"Release": ledger.Release(t.Context(), test.uri, "uid-a"),
			}
			if pool, err := database.Open(t.Context(), database.Fixed(test.uri)); err != nil {
				calls["database.Open"] = err
			} else {
				calls["Ping"] = pool.Ping(t.Context())
				pool.Close()
			}
			for call, err := range calls {
				if err == nil {
					t.Errorf("%s found nothing wrong", call)
					continue
				}
				silent(t, call, err)
				if got := errors.Is(err, ledger.ErrUnavailable); got != test.unavailable {
					t.Errorf("%s: ErrUnavailable is %t, want %t: %v", call, got, test.unavailable, err)
				}
			}
		})
	}
}

// silent looks for the secret in an error and in all that it wraps.
func silent(t *testing.T, call string, err error) {
	t.Helper()
	for _, format := range []string{"%v", "%+v", "%#v", "%q"} {
		if text := fmt.Sprintf(format, err); strings.Contains(text, "hunter2") || strings.Contains(text, "p@ss") || strings.Contains(text, "p%40ss") {
			t.Errorf("%s tells the password as %s: %s", call, format, text)
		}
	}
	if inner := errors.Unwrap(err); inner != nil {
		silent(t, call, inner)
	} else if joined, ok := errors.AsType[interface {
		error
		Unwrap() []error
	}](err); ok {
		for _, inner := range joined.Unwrap() {
			silent(t, call, inner)
		}
	}
}

// A server that goes away under a ledger in use is unavailable, no more.
func TestServerGoesAway(t *testing.T) {
	leaving := durable(t)
	b := openAt(t, leaving.Database(t))
	lease := acquire(t, b, trader("a", btc))
	if err := leaving.Stop(false); err != nil {
		t.Fatal(err)
	}
	_, loadErr := b.Load(t.Context(), lease)
	_, acquireErr := b.Acquire(t.Context(), trader("a", btc))
	for call, err := range map[string]error{
		"Ping": b.Ping(t.Context()), "Load": loadErr, "Acquire": acquireErr, "Release": b.Release(t.Context(), "uid-a"),
		"Intend": b.Intend(t.Context(), lease, []order.Intent{intent(lease, 1, 0, "BTC-USD", order.Buy, 1)}),
	} {
		if !errors.Is(err, ledger.ErrUnavailable) || errors.Is(err, ledger.ErrOutcomeUnknown) {
			t.Errorf("%s: %v, want ErrUnavailable", call, err)
		}
	}
	if err := leaving.StartAgain(); err != nil {
		t.Fatal(err)
	}
	if s := load(t, b, lease); len(s.OpenOrders) != 0 {
		t.Errorf("what was refused was kept: %+v", s.OpenOrders)
	}
}

func closedPort(t *testing.T) string {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	return listener.Addr().String()
}
