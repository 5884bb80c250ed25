package v1alpha1

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func hosted(namespace, name, host string, age time.Duration) TradingAgent {
	born := metav1.NewTime(time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC).Add(-age))
	agent := TradingAgent{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID(namespace + name), CreationTimestamp: born}}
	if host != "" {
		agent.Spec.Endpoint = &EndpointSpec{Host: host}
	}
	return agent
}

func TestHostNames(t *testing.T) {
	for host, valid := range map[string]bool{
		"eur.desk.example.com": true, "e.co": true, "xn--bcher-kva.example": true, "1.example.com": true,
		"": false, "localhost": false, "EUR.example.com": false, "10.0.0.7": false, "https://eur.example.com": false, "eur.example.com:443": false,
		"*.example.com": false, "eur_desk.example.com": false, "eur..example.com": false, "-eur.example.com": false, "eur.example.com/x": false,
		"eur.example.com\nx": false, strings.Repeat("a.", 126) + "ab": false, strings.Repeat("a", 64) + ".com": false,
	} {
		agent := hosted("desk", "eur", "x.example.com", 0)
		agent.Spec.Endpoint.Host = host
		if errs := ValidateEndpoint(&agent); (len(errs) == 0) != valid {
			t.Errorf("%q: %v", host, errs)
		}
	}
	agent := hosted("desk", "eur", "x.example.com", 0)
	agent.Spec.Endpoint.IngressClassName, agent.Spec.Endpoint.GatewayRef = "traefik", &GatewayReference{Name: "edge"}
	if errs := ValidateEndpoint(&agent); len(errs) != 1 {
		t.Errorf("a class and a gateway: %v", errs)
	}
	without := hosted("desk", "eur", "", 0)
	if errs := ValidateEndpoint(&without); len(errs) != 0 {
		t.Errorf("no endpoint: %v", errs)
	}
}

func TestHostRival(t *testing.T) {
	const host = "eur.example.com"
	old, young := hosted("desk", "old", host, time.Hour), hosted("other", "young", host, time.Minute)
	elder, elsewhere := hosted("zoo", "elder", host, 2*time.Hour), hosted("desk", "elsewhere", "btc.example.com", 3*time.Hour)
	twin := hosted("desk", "twin", host, time.Hour)
	for _, test := range []struct {
		name   string
		agent  TradingAgent
		others []TradingAgent
		want   string
	}{
		{"alone", old, []TradingAgent{old, elsewhere}, ""},
		{"older", old, []TradingAgent{young, old}, ""},
		{"younger", young, []TradingAgent{old, young}, "old"},
		{"the oldest of two", young, []TradingAgent{old, elder, young}, "elder"},
		{"of one age, the first by name", twin, []TradingAgent{old, twin}, "old"},
		{"of one age, the first by name keeps it", old, []TradingAgent{old, twin}, ""},
		{"not stored yet", hosted("desk", "new", host, 0), []TradingAgent{young}, "young"},
		{"no endpoint", hosted("desk", "none", "", 0), []TradingAgent{old}, ""},
	} {
		if test.name == "not stored yet" {
			test.agent.CreationTimestamp = metav1.Time{}
		}
		got := ""
		if rival := HostRival(&test.agent, test.others); rival != nil {
			got = rival.Name
		}
		if got != test.want {
			t.Errorf("%s: the rival is %q, want %q", test.name, got, test.want)
		}
	}
	// Who asks for a host comes last, however old it is.
	if errs := ValidateUniqueHost(&elder, []TradingAgent{old}); len(errs) != 1 || strings.Contains(errs[0].Error(), "old") {
		t.Errorf("an older agent that takes a host: %v", errs)
	}
	if errs := ValidateUniqueHost(&twin, []TradingAgent{old}); len(errs) != 1 || !strings.Contains(errs[0].Error(), "TradingAgent old") {
		t.Errorf("of one namespace: %v", errs)
	}
	if errs := ValidateUniqueHost(&old, []TradingAgent{old}); len(errs) != 0 {
		t.Errorf("its own host: %v", errs)
	}
}
