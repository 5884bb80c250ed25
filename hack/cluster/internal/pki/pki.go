// Package pki makes and keeps the local cluster's certificates: one authority,
// a server certificate each for the API server and the kubelet, one client
// certificate per component, and the key that signs service account tokens.
package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/files"
)

const (
	lifetime = 365 * 24 * time.Hour
	// renewBefore replaces a certificate before a cluster that runs for days meets its end.
	renewBefore = 30 * 24 * time.Hour
)

// Certificate says what one certificate is for. A certificate with addresses
// or names is a server's, one without is a client's.
type Certificate struct {
	Name          string // file name without extension
	CommonName    string // the user, for a client
	Organizations []string
	DNSNames      []string
	IPs           []net.IP
}

// Authority signs the cluster's certificates; its files live in Dir.
type Authority struct {
	Dir  string
	cert *x509.Certificate
	key  crypto.Signer
}

// Path returns the path of name's certificate and of its private key.
func (a *Authority) Path(name string) (cert, key string) {
	return filepath.Join(a.Dir, name+".crt"), filepath.Join(a.Dir, name+".key")
}

// Read returns name's certificate and its private key in PEM.
func (a *Authority) Read(name string) (cert, key []byte, err error) {
	dir := os.DirFS(a.Dir)
	if cert, err = fs.ReadFile(dir, name+".crt"); err == nil {
		key, err = fs.ReadFile(dir, name+".key")
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read certificate %s in %s: %w", name, a.Dir, err)
	}
	return cert, key, nil
}

// Open loads the authority from dir, or makes it when there is none or when
// the one there ends soon (every certificate is then issued anew).
func Open(dir string, now time.Time) (*Authority, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("create the PKI directory: %w", err)
	}
	a := &Authority{Dir: dir}
	certPath, keyPath := a.Path("ca")
	if cert, err := readCertificate(certPath); err == nil && now.Before(cert.NotAfter.Add(-renewBefore)) {
		key, err := readKey(keyPath)
		if err != nil {
			return nil, fmt.Errorf("the authority's key does not match its certificate, remove %s: %w", dir, err)
		}
		a.cert, a.key = cert, key
		return a, nil
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "trading-cluster"},
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.Add(lifetime),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
	}
	key, err := a.write("ca", template, nil, nil)
	if err != nil {
		return nil, err
	}
	if a.cert, err = readCertificate(certPath); err != nil {
		return nil, err
	}
	a.key = key
	return a, nil
}

// Ensure issues c unless a certificate of this authority with the same content
// that does not end soon is already there.
func (a *Authority) Ensure(c Certificate, now time.Time) error {
	certPath, keyPath := a.Path(c.Name)
	if old, err := readCertificate(certPath); err == nil && a.current(old, c, now) {
		if _, err := readKey(keyPath); err == nil {
			return nil
		}
	}
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: c.CommonName, Organization: c.Organizations},
		NotBefore:   now.Add(-time.Hour),
		NotAfter:    now.Add(lifetime),
		DNSNames:    c.DNSNames,
		IPAddresses: c.IPs,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if len(c.DNSNames)+len(c.IPs) > 0 {
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}
	_, err := a.write(c.Name, template, a.cert, a.key)
	return err
}

// EnsureTokenKey makes the key pair <name>.key and <name>.pub that signs and
// checks service account tokens, unless it is there.
func (a *Authority) EnsureTokenKey(name string) error {
	_, keyPath := a.Path(name)
	pubPath := filepath.Join(a.Dir, name+".pub")
	key, err := readKey(keyPath)
	if err != nil {
		if key, err = newKey(keyPath); err != nil {
			return err
		}
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return fmt.Errorf("encode the token key: %w", err)
	}
	return writePEM(pubPath, "PUBLIC KEY", der)
}

func (a *Authority) current(old *x509.Certificate, c Certificate, now time.Time) bool {
	return old.CheckSignatureFrom(a.cert) == nil &&
		now.Before(old.NotAfter.Add(-renewBefore)) &&
		old.Subject.CommonName == c.CommonName &&
		slices.Equal(old.Subject.Organization, c.Organizations) &&
		slices.Equal(old.DNSNames, c.DNSNames) &&
		slices.EqualFunc(old.IPAddresses, c.IPs, func(x, y net.IP) bool { return x.Equal(y) })
}

// write makes a key, signs template (by itself without a parent) and stores both.
func (a *Authority) write(name string, template, parent *x509.Certificate, parentKey crypto.Signer) (crypto.Signer, error) {
	certPath, keyPath := a.Path(name)
	key, err := newKey(keyPath)
	if err != nil {
		return nil, err
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120)); err != nil {
		return nil, fmt.Errorf("draw a serial number: %w", err)
	}
	if parent == nil {
		parent, parentKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), parentKey)
	if err != nil {
		return nil, fmt.Errorf("sign certificate %s: %w", name, err)
	}
	return key, writePEM(certPath, "CERTIFICATE", der)
}

func newKey(path string) (crypto.Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generate a key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode a key: %w", err)
	}
	return key, writePEM(path, "PRIVATE KEY", der)
}

func readCertificate(path string) (*x509.Certificate, error) {
	block, err := readPEM(path)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(block.Bytes)
}

func readKey(path string) (crypto.Signer, error) {
	block, err := readPEM(path)
	if err != nil {
		return nil, err
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%s holds a %T, which cannot sign", path, key)
	}
	return signer, nil
}

func readPEM(path string) (*pem.Block, error) {
	data, err := fs.ReadFile(os.DirFS(filepath.Dir(path)), filepath.Base(path))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, fmt.Errorf("%s holds no PEM block", path)
	}
	return block, nil
}

// writePEM replaces path in one step, so that a killed `up` leaves the old file or the new.
func writePEM(path, kind string, der []byte) error {
	return files.Replace(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}
