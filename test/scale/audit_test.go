package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// line of an audit log as the API server writes it.
func line(verb, resource, sub, uri string, code int, at time.Time, body string) string {
	if body != "" {
		body = `,"requestObject":` + body
	}
	return fmt.Sprintf(`{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Request","stage":"ResponseComplete","requestURI":%q,"verb":%q,"user":{"username":%q},"objectRef":{"resource":%q,"namespace":"desk","name":"a","apiGroup":"g","apiVersion":"v1","subresource":%q},"responseStatus":{"code":%d},"requestReceivedTimestamp":%q%s}`,
		uri, verb, "op", resource, sub, code, at.UTC().Format("2006-01-02T15:04:05.000000Z"), body)
}

func TestAuditLogIsFollowed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	file, err := os.OpenFile(filepath.Clean(path), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	log, err := openAuditLog(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.close() })
	at := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	whole := line("patch", "pods", "status", "/p?force=true", 200, at, `{"a":1}`)
	// Half of a line is no request yet.
	steps := []struct {
		written string
		want    int
	}{{whole + "\n" + whole[:40], 1}, {"", 1}, {whole[40:], 1}, {"\n", 2}}
	for _, step := range steps {
		if _, err := file.WriteString(step.written); err != nil {
			t.Fatal(err)
		}
		requests, err := log.read()
		if err != nil || len(requests) != step.want {
			t.Fatalf("after %q: %d requests, %v; want %d", step.written, len(requests), err, step.want)
		}
	}
	got := log.all[1]
	if got.user != "op" || got.kind() != "apply pods/status" || got.name != "a" || got.code != 200 || string(got.body) != `{"a":1}` || !got.at.Equal(at) {
		t.Errorf("read %+v", got)
	}
}

func TestCount(t *testing.T) {
	at := time.Now()
	lines := []string{
		line("create", "pods", "", "/", 201, at, "{}"),
		line("patch", "serviceaccounts", "", "/?force=true", 201, at, "{}"),
		line("patch", "tradingagents", "", "/", 200, at, "{}"),
		line("patch", "tradingagents", "status", "/", 200, at, "{}"),
		line("patch", "tradingagents", "status", "/", 409, at, "{}"),
		line("patch", "riskpolicies", "status", "/", 200, at, "{}"),
		line("create", "events", "", "/", 201, at, "{}"),
		line("update", "leases", "", "/", 200, at, "{}"),
		line("get", "leases", "", "/", 200, at, ""),
		line("get", "secrets", "", "/", 404, at, ""),
		line("list", "pods", "", "/", 200, at, ""),
		line("watch", "pods", "", "/", 200, at, ""),
	}
	requests := make([]request, 0, len(lines))
	for _, text := range lines {
		r, err := parseRequest([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		requests = append(requests, r)
	}
	got := count(requests)
	if got.writes != 6 || got.agentStatus != 1 || got.otherStatus != 1 || got.events != 1 || got.refused != 1 || got.reads != 2 {
		t.Errorf("counted %+v", got)
	}
	r := &result{Agents: 2}
	r.record(got, 4)
	if r.Writes != 3 || r.Children != 1.5 || r.Refused != 0.5 || r.Reads != 0.5 || r.Passes != 2 {
		t.Errorf("recorded %+v", r)
	}
	if frequent := kinds(map[string]int{"a": 1, "b": 3, "c": 2}); fmt.Sprint(frequent) != "[b c a]" {
		t.Errorf("sorted %v", frequent)
	}
}

func TestSinceTakesOneUserAndAWindow(t *testing.T) {
	at := time.Now()
	all := []request{
		{user: "op", name: "late", at: at.Add(2 * time.Second)},
		{user: "op", name: "early", at: at},
		{user: "other", at: at},
		{user: "op", name: "before", at: at.Add(-time.Nanosecond)},
		{user: "op", name: "after", at: at.Add(3 * time.Second)},
	}
	got := since(all, "op", at, at.Add(3*time.Second))
	if len(got) != 2 || got[0].name != "early" || got[1].name != "late" {
		t.Errorf("found %+v", got)
	}
}
