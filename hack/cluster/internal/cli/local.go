package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/box"
	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/deploy"
	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/image"
	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/network"
	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/node"
	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/parts"
	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/pki"
	"github.com/three-rivers-tech/trading-operator/hack/cluster/manifests"
)

// assembly builds an image.
type assembly func() (*image.Image, error)

// localCluster is one run of up. What does not depend on each other runs at
// the same time: images are built while the control plane starts.
type localCluster struct {
	*app
	dirs    map[string]string // of the parts
	options options
	plan    network.Plan
	pause   *image.Image
	// images gives the reference of each image once it is loaded; whoever asks
	// first has it built, so that no pod is created before its image is there.
	images map[string]func() (string, error)
	// authority and token are of our internet; whoever asks first makes them.
	authority func() (*pki.Authority, error)
	token     func() (string, error)
}

func newLocalCluster(a *app, dirs map[string]string, o options) *localCluster {
	c := &localCluster{app: a, dirs: dirs, options: o, images: map[string]func() (string, error){}}
	c.authority, c.token = sync.OnceValues(c.openAuthority), sync.OnceValues(c.openToken)
	return c
}

func (c *localCluster) run(ctx context.Context) error {
	if err := c.start(ctx); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	c.defineImages(ctx)
	for _, load := range c.images {
		group.Go(func() error {
			_, err := load()
			return err
		})
	}
	group.Go(func() error { return c.furnish(ctx) })
	return group.Wait()
}

// defineImages says how each image is built; nothing is built yet.
func (c *localCluster) defineImages(ctx context.Context) {
	define := func(name string, assemble assembly) {
		c.images[name] = sync.OnceValues(func() (ref string, err error) {
			err = c.log.Run("image "+name, func(detail func(string)) error {
				img, err := assemble()
				if err != nil {
					return err
				}
				detail("loading")
				ref = img.Ref
				return c.load(ctx, img)
			})
			return ref, err
		})
	}
	define("pause", func() (*image.Image, error) { return c.pause, nil })
	define("postgres", func() (*image.Image, error) { return c.postgresImage(ctx) })
	for program, part := range c.partImages() {
		define(program, func() (*image.Image, error) { return partImage(program, c.dirs[part]) })
	}
	if c.options.tls {
		for name, pkg := range internetImages {
			define(name, func() (*image.Image, error) { return c.programImage(ctx, name, c.root, pkg) })
		}
	}
	if c.options.only {
		return
	}
	for name, pkg := range ownImages {
		define(name, func() (*image.Image, error) { return c.programImage(ctx, name, c.root, pkg) })
	}
}

// partImages names the part of each program that gets an image.
func (c *localCluster) partImages() map[string]string {
	images := map[string]string{"coredns": "coredns", "cert-manager": c.options.certManager()}
	if c.options.tls {
		for _, part := range parts.TLS {
			for program := range part.Programs {
				images[program] = part.Name
			}
		}
	}
	return images
}

// start makes sure that the box runs with this configuration.
func (c *localCluster) start(ctx context.Context) error {
	return c.log.Run("start the box", func(func(string)) error {
		if err := c.layout.Make(); err != nil {
			return err
		}
		if err := c.installPrograms(c.dirs); err != nil {
			return fmt.Errorf("install the programs into %s: %w", c.layout.Dir, err)
		}
		var err error
		if c.pause, err = c.programImage(ctx, "pause", filepath.Join(c.root, "hack", "cluster"), "./cmd/pause"); err != nil {
			return err
		}
		if c.plan, err = c.networkPlan(); err != nil {
			return err
		}
		config, kubeconfig, err := node.Prepare(node.Options{Layout: c.layout, Network: c.plan, Pause: c.pause.Ref, UnsafeNoFsync: c.options.test})
		if err != nil {
			return err
		}
		if err := os.WriteFile(c.local("kubeconfig"), kubeconfig, 0o600); err != nil {
			return err
		}
		if err := relink(c.layout.Bin("kubectl"), c.local("kubectl")); err != nil {
			return err
		}
		_, err = box.Start(ctx, c.layout, config)
		return err
	})
}

// furnish brings up everything inside the cluster.
func (c *localCluster) furnish(ctx context.Context) error {
	k := c.kubectl()
	if err := c.log.Run("API server ready", func(func(string)) error { return c.waitAPI(ctx) }); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		return c.log.Run("node Ready", func(func(string)) error {
			return k.Wait(ctx, 2*time.Minute, "default", "node/"+node.Name, "condition=Ready")
		})
	})
	group.Go(func() error { return c.dns(ctx) })
	group.Go(func() error { return c.postgres(ctx) })
	if c.options.tls {
		if err := c.routes(ctx); err != nil {
			return waitWith(group, err)
		}
		group.Go(func() error { return c.traefik(ctx) })
		group.Go(func() error { return c.internet(ctx) })
	}
	if err := c.certManager(ctx); err != nil {
		return waitWith(group, err)
	}
	if c.options.tls {
		group.Go(func() error { return c.issuers(ctx) })
	}
	if c.options.only {
		return group.Wait()
	}
	manager, err := c.images["manager"]()
	if err != nil {
		return waitWith(group, err)
	}
	agent, err := c.images["trading-agent"]()
	if err != nil {
		return waitWith(group, err)
	}
	if c.options.tls {
		if c.publicRoots, err = c.pebbleRoot(ctx); err != nil {
			return waitWith(group, err)
		}
	}
	if err := c.operator(ctx, k, manager, agent); err != nil {
		return waitWith(group, err)
	}
	return group.Wait()
}

// waitWith prefers the group's error, which cancelled what failed with err.
func waitWith(group *errgroup.Group, err error) error {
	group.Go(func() error { return err })
	return group.Wait()
}

func (c *localCluster) dns(ctx context.Context) error {
	return c.log.Run("cluster DNS", func(func(string)) error {
		ref, err := c.images["coredns"]()
		if err != nil {
			return err
		}
		dns := manifests.DNS{Image: ref, Address: c.plan.DNSService().String()}
		if c.options.tls {
			dns.Outside, dns.Zone = c.address(dnsService), zone
		}
		return c.workload(ctx, "kube-system", "deployment/coredns", dns)
	})
}

func (c *localCluster) certManager(ctx context.Context) error {
	return c.log.Run("cert-manager", func(func(string)) error {
		if err := deploy.CRDs(ctx, c.kubectl(), filepath.Join(c.dirs[c.options.certManager()], "crds")); err != nil {
			return err
		}
		ref, err := c.images["cert-manager"]()
		if err != nil {
			return err
		}
		manifest := manifests.CertManager{Image: ref}
		if c.options.tls {
			if manifest.ACME, err = c.acme(); err != nil {
				return err
			}
		}
		return c.workload(ctx, "cert-manager", "deployment/cert-manager", manifest)
	})
}

func (c *localCluster) postgres(ctx context.Context) error {
	return c.log.Run("PostgreSQL", func(func(string)) error {
		path := c.layout.Data("postgres")
		if err := os.MkdirAll(path, 0o700); err != nil {
			return err
		}
		if err := os.Chown(path, image.User, image.User); err != nil {
			return err
		}
		if err := deploy.Credentials(ctx, c.kubectl()); err != nil {
			return err
		}
		ref, err := c.images["postgres"]()
		if err != nil {
			return err
		}
		return c.workload(ctx, "desk", "statefulset/postgres", manifests.Postgres{Image: ref, Node: node.Name, Path: path})
	})
}

// workload applies a manifest and waits until its Deployment or StatefulSet is rolled out.
func (c *localCluster) workload(ctx context.Context, namespace, resource string, manifest any) error {
	return applyWorkload(ctx, c.kubectl(), namespace, resource, manifest)
}
