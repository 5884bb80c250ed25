package endpoint

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// identityAge is how long the operator's certificate is gone by before its files
// are read again. They change a third of its lifetime before it ends.
const identityAge = 10 * time.Second

// Identity is who the operator is to its agents: a certificate of the internal CA,
// in files that are renewed in place. A nil one, or one whose files are not there
// yet, is nobody.
type Identity struct {
	directory string

	mu    sync.Mutex
	read  time.Time
	pair  *tls.Certificate
	roots []byte
	pool  *x509.CertPool
}

// NewIdentity takes the certificate from a directory with tls.crt, tls.key and
// ca.crt; nil without a directory.
func NewIdentity(directory string) *Identity {
	if directory == "" {
		return nil
	}
	return &Identity{directory: directory}
}

// refresh reads the files if that is due. Files that do not fit together, because
// they are being changed, leave what was read before.
func (i *Identity) refresh() {
	if time.Since(i.read) < identityAge {
		return
	}
	i.read = time.Now()
	pair, err := tls.LoadX509KeyPair(filepath.Join(i.directory, corev1.TLSCertKey), filepath.Join(i.directory, corev1.TLSPrivateKeyKey))
	if err != nil {
		return
	}
	roots, err := os.ReadFile(filepath.Join(i.directory, caKey))
	pool := x509.NewCertPool()
	if err != nil || !pool.AppendCertsFromPEM(roots) {
		return
	}
	i.pair, i.roots, i.pool = &pair, roots, pool
}

// Roots are the certificates of the internal CA in PEM; empty if they are not
// known.
func (i *Identity) Roots() []byte {
	if i == nil {
		return nil
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.refresh()
	return i.roots
}

// Config is how the operator connects to an agent's Service; nil if it has no
// certificate.
func (i *Identity) Config(host string) *tls.Config {
	if i == nil {
		return nil
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.refresh()
	if i.pair == nil {
		return nil
	}
	return &tls.Config{ServerName: host, RootCAs: i.pool, Certificates: []tls.Certificate{*i.pair}, MinVersion: tls.VersionTLS12}
}

// ReadKeypair reads the Secret of an endpoint's certificate past the cache, which
// holds no Secrets. Its error carries nothing of what is in it.
func ReadKeypair(live client.Reader) func(context.Context, Target) (Keypair, error) {
	return func(ctx context.Context, target Target) (Keypair, error) {
		secret := &corev1.Secret{}
		err := live.Get(ctx, target.Secret, secret)
		if apierrors.IsNotFound(err) {
			return Keypair{}, nil
		}
		if err != nil {
			return Keypair{}, fmt.Errorf("read Secret %q: %w", target.Secret.Name, err)
		}
		_, err = tls.X509KeyPair(secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey])
		return Keypair{
			Found:   len(secret.Data[corev1.TLSCertKey]) > 0,
			Matches: err == nil,
			Leaf:    firstCertificate(secret.Data[corev1.TLSCertKey]),
			Roots:   secret.Data[caKey],
		}, nil
	}
}

func firstCertificate(content []byte) *x509.Certificate {
	block, _ := pem.Decode(content)
	if block == nil {
		return nil
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil
	}
	return leaf
}
