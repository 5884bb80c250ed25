package webhookcert

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"time"

	corev1 "k8s.io/api/core/v1"
)

const (
	day          = 24 * time.Hour
	caLifetime   = 3650 * day
	leafLifetime = 90 * day
	// slack is how far the clocks of replicas and API server may differ.
	slack = 5 * time.Minute
)

// signer is a CA with its key.
type signer struct {
	certificate *x509.Certificate
	key         crypto.Signer
}

// renew returns the Secret's content as it should be at a time, and whether it
// differs from what is stored. A CA that is renewed stays trusted until it ends, so
// that a replica which serves by it is still believed.
func renew(stored map[string][]byte, namespace string, now time.Time) (data map[string][]byte, changed bool, err error) {
	names := serviceNames(namespace)
	authority := readAuthority(stored)
	caDue := authority == nil || due(authority.certificate, now)
	if !caDue && fits(stored, authority, names[0], now) {
		return stored, false, nil
	}
	data = maps.Clone(stored)
	if data == nil {
		data = map[string][]byte{}
	}
	data[caKey] = stillValid(stored[caKey], now)
	if caDue {
		authority, err = newAuthority(now)
		if err != nil {
			return nil, false, err
		}
		data[caKey] = append(encode("CERTIFICATE", authority.certificate.Raw), data[caKey]...)
		if data[caPrivateKey], err = encodeKey(authority.key); err != nil {
			return nil, false, err
		}
	}
	data[corev1.TLSCertKey], data[corev1.TLSPrivateKeyKey], err = authority.issue(names, now)
	return data, true, err
}

// serviceNames are the names by which the API server calls the webhook.
func serviceNames(namespace string) []string {
	return []string{SecretName + "." + namespace + ".svc", SecretName + "." + namespace + ".svc.cluster.local"}
}

// due reports whether two thirds of a certificate's lifetime have passed.
func due(certificate *x509.Certificate, now time.Time) bool {
	lifetime := certificate.NotAfter.Sub(certificate.NotBefore)
	return now.After(certificate.NotBefore.Add(lifetime * 2 / 3))
}

// fits reports whether the stored certificate is the CA's, for the name, with its
// key, and not due.
func fits(stored map[string][]byte, authority *signer, name string, now time.Time) bool {
	pair, err := tls.X509KeyPair(stored[corev1.TLSCertKey], stored[corev1.TLSPrivateKeyKey])
	if err != nil {
		return false
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil || due(leaf, now) {
		return false
	}
	roots := x509.NewCertPool()
	roots.AddCert(authority.certificate)
	_, err = leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots, CurrentTime: now})
	return err == nil
}

// readAuthority reads the newest CA and its key; nil if they are damaged.
func readAuthority(stored map[string][]byte) *signer {
	block, _ := pem.Decode(stored[caKey])
	keyBlock, _ := pem.Decode(stored[caPrivateKey])
	if block == nil || keyBlock == nil {
		return nil
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil
	}
	key, err := x509.ParseECPrivateKey(keyBlock.Bytes)
	if err != nil || !key.PublicKey.Equal(certificate.PublicKey) {
		return nil
	}
	return &signer{certificate, key}
}

func newAuthority(now time.Time) (*signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the CA's key: %w", err)
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "trading-operator-webhook-ca"},
		NotBefore: now.Add(-slack), NotAfter: now.Add(caLifetime),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make the CA: %w", err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("make the CA: %w", err)
	}
	return &signer{certificate, key}, nil
}

// issue makes a certificate and its key, both in PEM.
func (s *signer) issue(names []string, now time.Time) (certificate, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("make the webhook's key: %w", err)
	}
	serial, err := newSerial()
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial, DNSNames: names, NotBefore: now.Add(-slack), NotAfter: now.Add(leafLifetime),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, s.certificate, private.Public(), s.key)
	if err != nil {
		return nil, nil, fmt.Errorf("make the webhook's certificate: %w", err)
	}
	key, err = encodeKey(private)
	return encode("CERTIFICATE", der), key, err
}

// stillValid are those of the certificates in a bundle that have not ended.
func stillValid(bundle []byte, now time.Time) []byte {
	var kept bytes.Buffer
	for {
		var block *pem.Block
		if block, bundle = pem.Decode(bundle); block == nil {
			return kept.Bytes()
		}
		if certificate, err := x509.ParseCertificate(block.Bytes); err == nil && now.Before(certificate.NotAfter) {
			kept.Write(encode("CERTIFICATE", certificate.Raw))
		}
	}
}

func newSerial() (*big.Int, error) {
	// 128 bits, as CAs in public use them.
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 128))
	if err != nil {
		return nil, fmt.Errorf("make a serial number: %w", err)
	}
	return serial, nil
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func encodeKey(key crypto.Signer) ([]byte, error) {
	private, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("encode a key: %T is no ECDSA key", key)
	}
	der, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		return nil, fmt.Errorf("encode a key: %w", err)
	}
	return encode("EC PRIVATE KEY", der), nil
}
