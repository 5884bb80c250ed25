// Package kube writes kubeconfigs and runs kubectl.
package kube

import (
	"encoding/base64"
	"fmt"
	"os"
)

// Config returns a kubeconfig for server that carries the three PEM files, so
// that it can be copied elsewhere.
func Config(server, caFile, certFile, keyFile string) ([]byte, error) {
	var encoded [3]string
	for i, path := range []string{caFile, certFile, keyFile} {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("write a kubeconfig: %w", err)
		}
		encoded[i] = base64.StdEncoding.EncodeToString(data)
	}
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
`, server, encoded[0], encoded[1], encoded[2]), nil
}
