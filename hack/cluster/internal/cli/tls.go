package cli

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/deploy"
	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/files"
	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/pki"
	"github.com/three-rivers-tech/trading-operator/hack/cluster/manifests"
)

// Last bytes of the Services' addresses that others are told.
const (
	traefikService    = 20
	dnsService        = 21
	cloudflareService = 22
)

// zone is what the DNS of our internet answers for and the account at Cloudflare holds.
const zone = "example.com"

// authorities speak ACME; each has an issuer of its name, which proves hosts by
// HTTP-01. They are one, by two ways: on the second nonces can be refused.
var authorities = []string{"pebble", "pebble-refusing"}

func (c *localCluster) address(last byte) string { return c.plan.Service(last).String() }

// routes installs the kinds that Traefik reads; cert-manager asks for those of
// the Gateway API when it starts.
func (c *localCluster) routes(ctx context.Context) error {
	return c.log.Run("Gateway API and Traefik's kinds", func(func(string)) error {
		for _, dir := range []string{
			filepath.Join(c.dirs["cert-manager-acme"], "gateway-crds"),
			filepath.Join(c.dirs["traefik"], "crds"),
		} {
			if err := deploy.CRDs(ctx, c.kubectl(), dir); err != nil {
				return err
			}
		}
		return nil
	})
}

func (c *localCluster) traefik(ctx context.Context) error {
	return c.log.Run("Traefik", func(func(string)) error {
		ref, err := c.images["traefik"]()
		if err != nil {
			return err
		}
		return c.workload(ctx, "traefik", "deployment/traefik", manifests.Traefik{Image: ref, Address: c.address(traefikService)})
	})
}

// internet starts what stands for the internet: DNS, ACME and Cloudflare's API.
func (c *localCluster) internet(ctx context.Context) error {
	return c.log.Run("DNS, ACME and Cloudflare's API", func(func(string)) error {
		data, err := c.internetData()
		if err != nil {
			return err
		}
		for program, ref := range map[string]*string{
			"pebble": &data.PebbleImage, "pebble-challtestsrv": &data.DNSImage,
			"refuser": &data.RefuserImage, "cloudflare": &data.CloudflareImage,
		} {
			if *ref, err = c.images[program](); err != nil {
				return err
			}
		}
		if err := c.workload(ctx, "internet", "deployment/dns", data); err != nil {
			return err
		}
		return c.waitInternet(ctx)
	})
}

// waitInternet waits for all of it: cert-manager asks again late what it could not reach once.
func (c *localCluster) waitInternet(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, name := range append([]string{"cloudflare"}, authorities...) {
		group.Go(func() error {
			return c.kubectl().Wait(ctx, 3*time.Minute, "internet", "deployment/"+name, "condition=Available")
		})
	}
	return group.Wait()
}

func (c *localCluster) internetData() (manifests.Internet, error) {
	data := manifests.Internet{
		Traefik: c.address(traefikService), DNS: c.address(dnsService), API: c.address(cloudflareService),
		Zone: zone,
	}
	var err error
	if data.CA, err = c.internetCA(); err != nil {
		return data, err
	}
	if data.Token, err = c.token(); err != nil {
		return data, err
	}
	servers := []string{}
	for _, name := range authorities {
		servers = append(servers, name+".internet.svc")
	}
	if data.Pebble, err = c.certificate("pebble", servers...); err != nil {
		return data, err
	}
	data.Cloudflare, err = c.certificate("cloudflare", "api.cloudflare.com")
	return data, err
}

// acme is how cert-manager reaches that internet.
func (c *localCluster) acme() (*manifests.ACME, error) {
	solver, err := c.images["acmesolver"]()
	if err != nil {
		return nil, err
	}
	ca, err := c.internetCA()
	return &manifests.ACME{Solver: solver, Nameserver: c.address(dnsService), Cloudflare: c.address(cloudflareService), CA: ca}, err
}

// issuers registers accounts with the authorities.
func (c *localCluster) issuers(ctx context.Context) error {
	return c.log.Run("ACME issuers", func(func(string)) error {
		if err := c.waitInternet(ctx); err != nil {
			return err
		}
		data := manifests.Issuers{HTTP01: authorities}
		var err error
		if data.Token, err = c.token(); err != nil {
			return err
		}
		if data.CA, err = c.internetCA(); err != nil {
			return err
		}
		manifest, err := manifests.Render(data)
		if err != nil {
			return err
		}
		if err := c.kubectl().Apply(ctx, manifest); err != nil {
			return err
		}
		for _, name := range append([]string{"cloudflare"}, authorities...) {
			if err := c.kubectl().Wait(ctx, 2*time.Minute, "", "clusterissuer/"+name, "condition=Ready"); err != nil {
				return fmt.Errorf("%w\n%s", err, deploy.Diagnose(ctx, c.kubectl(), "internet"))
			}
		}
		return nil
	})
}

func (c *localCluster) internetCA() (string, error) {
	authority, err := c.authority()
	if err != nil {
		return "", err
	}
	cert, _, err := authority.Read("ca")
	return base64.StdEncoding.EncodeToString(cert), err
}

func (c *localCluster) certificate(name string, hosts ...string) (manifests.KeyPair, error) {
	authority, err := c.authority()
	if err != nil {
		return manifests.KeyPair{}, err
	}
	slices.Sort(hosts)
	if err := authority.Ensure(pki.Certificate{Name: name, CommonName: hosts[0], DNSNames: hosts}, time.Now()); err != nil {
		return manifests.KeyPair{}, err
	}
	cert, key, err := authority.Read(name)
	return manifests.KeyPair{Certificate: base64.StdEncoding.EncodeToString(cert), Key: base64.StdEncoding.EncodeToString(key)}, err
}

// openAuthority opens what signs for the servers of our internet, and for nothing
// of the cluster.
func (c *localCluster) openAuthority() (*pki.Authority, error) {
	return pki.Open(filepath.Join(c.layout.PKI(), "internet"), time.Now())
}

// openToken reads the token for Cloudflare's API, or makes one as long as theirs are.
func (c *localCluster) openToken() (string, error) {
	const length = 40
	token, err := fs.ReadFile(os.DirFS(c.layout.Etc(".")), "cloudflare.token")
	if errors.Is(err, fs.ErrNotExist) {
		token = []byte((rand.Text() + rand.Text())[:length])
		err = files.Replace(c.layout.Etc("cloudflare.token"), token, 0o600)
	}
	return string(token), err
}

// pebbleRoot is the root of the authority's chains. It draws a new one at each start.
func (c *localCluster) pebbleRoot(ctx context.Context) ([]byte, error) {
	if err := c.waitInternet(ctx); err != nil {
		return nil, err
	}
	authority, err := c.authority()
	if err != nil {
		return nil, err
	}
	ca, _, err := authority.Read("ca")
	if err != nil {
		return nil, err
	}
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(ca)
	server, err := c.kubectl().Output(ctx, "get", "service", "--namespace", "internet", "pebble", "-o", "jsonpath={.spec.clusterIP}")
	if err != nil {
		return nil, err
	}
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: trusted, ServerName: "pebble.internet.svc"},
		DisableKeepAlives: true,
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+net.JoinHostPort(server, "15000")+"/roots/0", nil)
	if err != nil {
		return nil, err
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("ask the authority for its root: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("ask the authority for its root: %s", response.Status)
	}
	return io.ReadAll(io.LimitReader(response.Body, 1<<20))
}
