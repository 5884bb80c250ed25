// Package kube writes kubeconfigs and runs kubectl.
package kube

import (
	"encoding/base64"
	"fmt"
)

// Config returns a kubeconfig for server that carries the three PEM texts, so
// that it can be copied elsewhere.
func Config(server string, ca, cert, key []byte) []byte {
	encode := base64.StdEncoding.EncodeToString
	return fmt.Appendf(nil, `apiVersion: v1
kind: Config
clusters:
- name: trading-cluster
  cluster: {server: %q, certificate-authority-data: %s}
users:
- name: user
  user: {client-certificate-data: %s, client-key-data: %s}
contexts:
- name: trading-cluster
  context: {cluster: trading-cluster, user: user}
current-context: trading-cluster
`, server, encode(ca), encode(cert), encode(key))
}
