package deploy

import (
	"strings"
	"testing"
)

func TestKustomizationNamesBothImages(t *testing.T) {
	o := Operator{Manager: "localhost:5000/a/manager:1e5", Agent: "ghcr.io/b/trading-agent:2"}
	got, err := o.kustomization("../../config/default")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"- ../../config/default\n", "newName: localhost:5000/a/manager\n",
		`newTag: "1e5"`, // unquoted it would be a number
		"value: ghcr.io/b/trading-agent:2\n", "name: trading-operator\n",
	} {
		if !strings.Contains(string(got), want) {
			t.Errorf("no %q in:\n%s", want, got)
		}
	}
	for _, bad := range []Operator{{Manager: "localhost:5000/manager", Agent: "a:1"}, {Manager: "manager:1"}} {
		if _, err := bad.kustomization("x"); err == nil {
			t.Errorf("%+v is accepted", bad)
		}
	}
}

func TestRootsAreMountedOnlyWhereThereAreSome(t *testing.T) {
	for name, roots := range map[string]string{"some": "PEM", "none": ""} {
		got, err := Operator{Manager: "manager:1", Agent: "agent:1", Roots: []byte(roots)}.kustomization("base")
		if err != nil {
			t.Fatal(err)
		}
		if mounted := strings.Contains(string(got), "SSL_CERT_DIR"); mounted != (roots != "") {
			t.Errorf("%s: mounted is %v in:\n%s", name, mounted, got)
		}
	}
}

func TestAgentTradesWhenReadyAndDecided(t *testing.T) {
	list := func(ready, decisions string) string {
		return `{"items":[{"kind":"Namespace"},{"kind":"TradingAgent","metadata":{"name":"a","namespace":"desk"},
			"status":{"conditions":[{"type":"Ready","status":"` + ready + `"}],"trading":{` + decisions + `}}}]}`
	}
	for name, test := range map[string]struct {
		list string
		want bool
	}{
		"ready and deciding":    {list("True", `"decisions":3`), true},
		"ready, none yet":       {list("True", `"decisions":0`), false},
		"ready, nothing said":   {list("True", ""), false},
		"deciding, not ready":   {list("False", `"decisions":3`), false},
		"no status at all":      {`{"items":[{"kind":"TradingAgent","metadata":{"name":"a"}}]}`, false},
		"readiness not known":   {list("Unknown", `"decisions":3`), false},
		"decisions past 2^31-1": {list("True", `"decisions":3000000000`), true},
	} {
		t.Run(name, func(t *testing.T) {
			agents, err := parseAgents(test.list)
			if err != nil {
				t.Fatal(err)
			}
			if len(agents) != 1 || agents[0].trades() != test.want {
				t.Errorf("got %v of %v, want %v", len(agents) == 1 && agents[0].trades(), agents, test.want)
			}
		})
	}
}

func TestPasswordsDifferAndNeedNoQuoting(t *testing.T) {
	a, b := password(), password()
	if a == b || len(a) != 32 || strings.Trim(a, "0123456789abcdef") != "" {
		t.Errorf("passwords %q and %q", a, b)
	}
}

func TestCredentialsAreKept(t *testing.T) {
	got, err := readCredentials(`{"data":{"postgres-password":"YQ==","agent-password":"Yg=="}}`)
	if err != nil || got.PostgresPassword != "a" || got.AgentPassword != "b" {
		t.Errorf("got %+v, %v", got, err)
	}
	if fresh, err := readCredentials("\n"); err != nil || fresh.AgentPassword == "" {
		t.Errorf("got %+v, %v", fresh, err)
	}
	if _, err := readCredentials(`{"data":{"agent-password":"Yg=="}}`); err == nil {
		t.Error("a Secret without the superuser's password is accepted")
	}
}
