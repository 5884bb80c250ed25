// Package network plans the cluster's addresses and joins the box to the host
// by one veth pair. The pair and its routes die with the box's network
// namespace, so there is nothing to remove.
package network

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/poll"
)

const (
	hostLink = "trading0"
	boxLink  = "eth0"
)

// Plan is one /16 divided into the link between host and box, the pods and the services.
type Plan struct {
	Block    netip.Prefix `json:"block"` // all of it
	Link     netip.Prefix `json:"link"`  // host .1, box .2
	Pods     netip.Prefix `json:"pods"`
	Services netip.Prefix `json:"services"`
}

// candidates for Block, tried in this order.
var candidates = []string{"10.213.0.0/16", "10.214.0.0/16", "10.87.0.0/16", "172.29.0.0/16", "192.168.0.0/16"}

// NewPlan divides block, which must be an IPv4 /16.
func NewPlan(block netip.Prefix) (Plan, error) {
	if block.Bits() != 16 || !block.Addr().Is4() {
		return Plan{}, fmt.Errorf("network block %s: must be an IPv4 /16", block)
	}
	b := block.Masked().Addr().As4()
	part := func(third byte, bits int) netip.Prefix {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{b[0], b[1], third, 0}), bits)
	}
	return Plan{Block: block.Masked(), Link: part(0, 30), Pods: part(64, 24), Services: part(128, 20)}, nil
}

// ChoosePlan takes the first candidate that overlaps nothing the host routes.
func ChoosePlan() (Plan, error) {
	routes, err := netlink.RouteList(nil, unix.AF_INET)
	if err != nil {
		return Plan{}, fmt.Errorf("list the host's routes: %w", err)
	}
	var used []netip.Prefix
	for _, route := range routes {
		if route.Dst == nil {
			continue
		}
		addr, _ := netip.AddrFromSlice(route.Dst.IP.To4())
		bits, _ := route.Dst.Mask.Size()
		used = append(used, netip.PrefixFrom(addr, bits))
	}
	return choose(used)
}

func choose(used []netip.Prefix) (Plan, error) {
next:
	for _, candidate := range candidates {
		block := netip.MustParsePrefix(candidate)
		for _, u := range used {
			if u.IsValid() && u.Bits() > 0 && u.Overlaps(block) {
				continue next
			}
		}
		return NewPlan(block)
	}
	return Plan{}, fmt.Errorf("every candidate network %v overlaps a route of this host", candidates)
}

// Host is the host's end of the link.
func (p Plan) Host() netip.Addr { return p.Link.Addr().Next() }

// Box is the box's end of the link: the node's and the API server's address.
func (p Plan) Box() netip.Addr { return p.Host().Next() }

// APIService is the cluster address of the Service kubernetes.default.
func (p Plan) APIService() netip.Addr { return p.Services.Addr().Next() }

// DNSService is the cluster address of the DNS Service.
func (p Plan) DNSService() netip.Addr { return p.Service(10) }

// Service is the cluster address with that last byte. Kubernetes hands out those
// below 256 last, so that they can be given by name.
func (p Plan) Service(last byte) netip.Addr {
	a := p.Services.Addr().As4()
	a[3] = last
	return netip.AddrFrom4(a)
}

// Attach makes the veth pair, one end in the network namespace of process pid,
// and routes pods and services through it.
func Attach(p Plan, pid int) error {
	if err := remove(); err != nil {
		return err
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = hostLink
	veth := &netlink.Veth{LinkAttrs: attrs, PeerName: boxLink, PeerNamespace: netlink.NsPid(pid)}
	if err := netlink.LinkAdd(veth); err != nil {
		return fmt.Errorf("make the veth pair %s: %w", hostLink, err)
	}
	link, err := raise(hostLink, p.Host(), p.Link.Bits())
	if err != nil {
		return err
	}
	for _, dst := range []netip.Prefix{p.Pods, p.Services} {
		route := &netlink.Route{LinkIndex: link.Attrs().Index, Dst: ipNet(dst), Gw: p.Box().AsSlice(), Flags: int(netlink.FLAG_ONLINK)}
		if err := netlink.RouteReplace(route); err != nil {
			return fmt.Errorf("route %s through %s: %w", dst, hostLink, err)
		}
	}
	return nil
}

// Present reports whether the host still has its end of the link.
func Present() bool {
	_, err := netlink.LinkByName(hostLink)
	return err == nil
}

// Detach makes sure that the link of a killed box is gone. Normally it goes with
// the box's network namespace, but a connection that waits for the answer of a
// pod that died with it can hold that for a while.
func Detach(ctx context.Context, wait time.Duration) error {
	if err := poll.Until(ctx, 20*time.Millisecond, wait, func() bool { return !Present() }); err != nil {
		return remove()
	}
	return nil
}

func remove() error {
	link, err := netlink.LinkByName(hostLink)
	if err != nil {
		return nil //nolint:nilerr // gone meanwhile
	}
	if err := netlink.LinkDel(link); err != nil && Present() {
		return fmt.Errorf("remove the link %s: %w", hostLink, err)
	}
	return nil
}

// SetUpBox configures the box's end; it runs inside the box. There is no
// default route on purpose: what leaves the cluster fails at once instead of
// timing out.
func SetUpBox(p Plan) error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("raise lo: %w", err)
	}
	if _, err := raise(boxLink, p.Box(), p.Link.Bits()); err != nil {
		return err
	}
	// The API server calls webhooks by service address. Without a default route the
	// kernel would refuse that before kube-proxy's rules see the packet.
	services := &netlink.Route{LinkIndex: lo.Attrs().Index, Dst: ipNet(p.Services), Src: p.Box().AsSlice(), Scope: netlink.SCOPE_LINK}
	if err := netlink.RouteReplace(services); err != nil {
		return fmt.Errorf("route %s inside the box: %w", p.Services, err)
	}
	for name, value := range map[string]string{
		"ip_forward": "1",
		// Connections that a killed process leaves give up at once instead of
		// keeping the namespace for minutes.
		"tcp_orphan_retries": "1",
	} {
		if err := os.WriteFile("/proc/sys/net/ipv4/"+name, []byte(value), 0); err != nil {
			return fmt.Errorf("set net.ipv4.%s inside the box: %w", name, err)
		}
	}
	return nil
}

func raise(name string, addr netip.Addr, bits int) (netlink.Link, error) {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return nil, fmt.Errorf("find link %s: %w", name, err)
	}
	if err := netlink.AddrReplace(link, &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(addr, bits))}); err != nil {
		return nil, fmt.Errorf("give %s address %s: %w", name, addr, err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return nil, fmt.Errorf("raise %s: %w", name, err)
	}
	return link, nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), 32)}
}
