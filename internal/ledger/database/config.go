// Package database is how the desk talks to PostgreSQL: pools with time-outs,
// transactions whose lost commits are asked for again, and errors that never
// contain a password.
package database

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	// operationTimeout bounds one transaction with its repetitions. A trader
	// waits for its ledger, so it must learn soon that it has none.
	operationTimeout = 5 * time.Second
	// commitTimeout is what a commit that has begun is given, whatever becomes
	// of the caller: a commit that is given up has an unknown outcome.
	commitTimeout = 3 * time.Second
	// connectTimeout bounds one attempt to connect.
	connectTimeout = 2 * time.Second
	// poolSize suffices for one agent, which writes one thing at a time.
	poolSize = 4
)

// sessionSettings are the server's own limits, in milliseconds; they hold where
// the client is gone. A connection URI may set others.
var sessionSettings = map[string]string{
	"application_name":                    "trading-operator",
	"timezone":                            "UTC",
	"statement_timeout":                   "4000",
	"lock_timeout":                        "3000",
	"idle_in_transaction_session_timeout": "10000",
}

// Config reads a connection URI such as
// postgres://user:password@host:5432/database. Its errors say what is wrong
// with the URI without repeating any part of it that may be secret.
func Config(uri string) (*pgxpool.Config, error) {
	uri = strings.TrimSpace(uri)
	config, err := pgxpool.ParseConfig(uri)
	// The driver would take an empty URI for the local default server.
	if err != nil || uri == "" {
		return nil, fmt.Errorf("the ledger's connection URI cannot be read: %s; it must look like postgres://user:password@host:5432/database", fault(uri))
	}
	for name, value := range sessionSettings {
		if _, set := config.ConnConfig.RuntimeParams[name]; !set {
			config.ConnConfig.RuntimeParams[name] = value
		}
	}
	if config.ConnConfig.ConnectTimeout <= 0 || config.ConnConfig.ConnectTimeout > time.Minute {
		config.ConnConfig.ConnectTimeout = connectTimeout
	}
	if !strings.Contains(uri, "pool_max_conns") {
		config.MaxConns = poolSize
	}
	config.PingTimeout = connectTimeout
	return config, nil
}

// fault names what is wrong with a URI that cannot be parsed. The driver's own
// words quote the URI and with it, at times, its password.
func fault(uri string) string {
	if uri == "" {
		return "it is empty"
	}
	parsed, err := url.Parse(uri)
	if err != nil {
		if inner, ok := errors.AsType[*url.Error](err); ok && strings.Contains(inner.Err.Error(), "invalid port") {
			return "its port is not a number, or its password holds a character that must be percent-encoded"
		}
		return "it is no URI, or its password holds a character that must be percent-encoded"
	}
	switch {
	case parsed.Scheme != "postgres" && parsed.Scheme != "postgresql":
		return "its scheme is not postgres"
	case parsed.Query().Has("sslmode"):
		return "one of its parameters has a wrong value; look at sslmode and what belongs to it"
	default:
		return "its host, port or one of its parameters has a wrong value"
	}
}

// Clean removes the password of a connection URI from an error and says
// ErrUnavailable where that is so.
func Clean(uri string, err error) error {
	if err == nil {
		return nil
	}
	config, parseErr := pgxpool.ParseConfig(strings.TrimSpace(uri))
	if parseErr != nil {
		// Only Config's own errors come from such a URI, and they are clean.
		return err
	}
	return newHider(config.ConnConfig.Password).clean(err)
}
