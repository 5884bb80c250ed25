package network

import (
	"net/netip"
	"testing"
)

func TestPlanDividesItsBlockWithoutOverlap(t *testing.T) {
	p, err := NewPlan(netip.MustParsePrefix("10.213.0.0/16"))
	if err != nil {
		t.Fatal(err)
	}
	parts := []netip.Prefix{p.Link, p.Pods, p.Services}
	for i, a := range parts {
		if !p.Block.Overlaps(a) {
			t.Errorf("%s lies outside %s", a, p.Block)
		}
		for _, b := range parts[:i] {
			if a.Overlaps(b) {
				t.Errorf("%s overlaps %s", a, b)
			}
		}
	}
	for name, pair := range map[string][2]string{
		"host": {p.Host().String(), "10.213.0.1"},
		"box":  {p.Box().String(), "10.213.0.2"},
		"api":  {p.APIService().String(), "10.213.128.1"},
		"dns":  {p.DNSService().String(), "10.213.128.10"},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s: got %s, want %s", name, pair[0], pair[1])
		}
	}
}

func TestPlanRefusesOtherSizes(t *testing.T) {
	if _, err := NewPlan(netip.MustParsePrefix("10.213.0.0/24")); err == nil {
		t.Error("a /24 is accepted")
	}
}

func TestChooseAvoidsTheHostsRoutes(t *testing.T) {
	used := []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("10.213.7.0/24")}
	p, err := choose(used)
	if err != nil {
		t.Fatal(err)
	}
	if p.Block.String() != "10.214.0.0/16" {
		t.Errorf("got %s", p.Block)
	}
	if _, err := choose(append(used, netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16"))); err == nil {
		t.Error("a network is chosen though all overlap")
	}
}
