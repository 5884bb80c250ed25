package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
)

// request is one call of the API server, from its audit log.
type request struct {
	user, verb                      string
	group, version, resource, sub   string
	namespace, name, uri, userAgent string
	code                            int32
	// body of a write, as it was sent.
	body []byte
	at   time.Time
}

// write reports whether the request changes something.
func (r *request) write() bool {
	return slices.Contains([]string{"create", "update", "patch", "delete", "deletecollection"}, r.verb)
}

// done reports whether the API server did what it was asked.
func (r *request) done() bool { return r.code < 300 }

// lease reports whether the request is about a leader's Lease.
func (r *request) lease() bool { return r.resource == "leases" }

// kind is the request in words for a table, such as "patch tradingagents/status".
func (r *request) kind() string {
	resource := r.resource
	if r.sub != "" {
		resource += "/" + r.sub
	}
	verb := r.verb
	if r.apply() {
		verb = "apply"
	}
	return verb + " " + resource
}

// apply reports whether a patch is a server-side apply: only that may be forced,
// and the operator forces each.
func (r *request) apply() bool { return r.verb == "patch" && strings.Contains(r.uri, "force=true") }

// parseRequest reads a line of the audit log.
func parseRequest(line []byte) (request, error) {
	var event auditv1.Event
	if err := json.Unmarshal(line, &event); err != nil {
		return request{}, fmt.Errorf("read the audit log: %w", err)
	}
	r := request{
		user: event.User.Username, verb: event.Verb, uri: event.RequestURI, userAgent: event.UserAgent,
		at: event.RequestReceivedTimestamp.Time,
	}
	if ref := event.ObjectRef; ref != nil {
		r.group, r.version, r.resource, r.sub = ref.APIGroup, ref.APIVersion, ref.Resource, ref.Subresource
		r.namespace, r.name = ref.Namespace, ref.Name
	}
	if event.ResponseStatus != nil {
		r.code = event.ResponseStatus.Code
	}
	if event.RequestObject != nil {
		r.body = event.RequestObject.Raw
	}
	return r, nil
}

// auditLog follows the API server's audit log. It is not safe for concurrent use.
type auditLog struct {
	file    *os.File
	reader  *bufio.Reader
	partial []byte
	all     []request
}

func openAuditLog(path string) (*auditLog, error) {
	file, err := os.Open(path) //nolint:gosec // The benchmark's own file.
	if err != nil {
		return nil, err
	}
	return &auditLog{file: file, reader: bufio.NewReaderSize(file, 1<<20)}, nil
}

// read takes in what has been written since and returns all requests so far. A
// line that is not finished is kept for the next time.
func (l *auditLog) read() ([]request, error) {
	for {
		line, err := l.reader.ReadBytes('\n')
		l.partial = append(l.partial, line...)
		if errors.Is(err, io.EOF) {
			return l.all, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read the audit log: %w", err)
		}
		r, err := parseRequest(bytes.TrimSpace(l.partial))
		if err != nil {
			return nil, err
		}
		l.partial = l.partial[:0]
		l.all = append(l.all, r)
	}
}

func (l *auditLog) close() error { return l.file.Close() }

// since returns a user's requests that the API server received in [from, to),
// in the order of their arrival.
func since(all []request, user string, from, to time.Time) []request {
	var found []request
	for i := range all {
		if all[i].user == user && !all[i].at.Before(from) && all[i].at.Before(to) {
			found = append(found, all[i])
		}
	}
	slices.SortStableFunc(found, func(a, b request) int { return a.at.Compare(b.at) })
	return found
}

// tally of requests.
type tally struct {
	// byKind counts the writes that were done.
	byKind map[string]int
	// writes that were done: on children and everything else, on the status of
	// TradingAgents, on the status of what agents refer to, and Events.
	writes, agentStatus, otherStatus, events int
	// refused are writes that failed, nearly always on a conflict.
	refused int
	// reads of single objects and lists past the cache; watches are none.
	reads int
}

// count sorts requests; leader Leases count for nothing.
func count(requests []request) tally {
	t := tally{byKind: map[string]int{}}
	for i := range requests {
		r := &requests[i]
		switch {
		case r.lease() || r.resource == "":
		case r.verb == "get" || r.verb == "list":
			t.reads++
		case !r.write():
		case !r.done():
			t.refused++
		default:
			t.byKind[r.kind()]++
			t.add(r)
		}
	}
	return t
}

func (t *tally) add(r *request) {
	t.writes++
	switch {
	case r.resource == "tradingagents" && r.sub == "status":
		t.agentStatus++
	case r.sub == "status":
		t.otherStatus++
	case r.resource == "events":
		t.events++
	}
}
