package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/three-rivers-tech/trading-operator/internal/server/keys"
)

// lets is whether a key is let in by the data of a Secret.
func lets(t *testing.T, data map[string][]byte, key string) bool {
	t.Helper()
	keyring := keys.NewKeyring(keys.Options{})
	defer keyring.Stop()
	if err := keyring.Load(data); err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "https://host/", nil)
	r.Header.Set("Authorization", "Bearer "+strings.TrimSpace(key))
	_, err := keyring.Authenticate(r)
	return err == nil
}

func TestKeysInAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.json")
	run := func(arguments ...string) string {
		t.Helper()
		output, _, err := command(t, append([]string{"keys", "--keys-file", path}, arguments...)...)
		if err != nil {
			t.Fatal(err)
		}
		return output
	}
	kept := func() map[string][]byte {
		data, err := keys.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	first := run("create", "--name", "dashboard", "--expires-in", "24h")
	second := run("rotate", "dashboard", "--grace", "1h")
	if !lets(t, kept(), first) || !lets(t, kept(), second) {
		t.Error("during the grace both keys open")
	}
	if list := run("list"); strings.Count(list, "dashboard") != 2 || strings.Contains(list, strings.TrimSpace(first)[12:]) {
		t.Errorf("the list:\n%s", list)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("others may read the file: %v %v", info.Mode(), err)
	}
	// What the repository keeps lets the same keys in.
	var secret corev1.Secret
	if err := yaml.UnmarshalStrict([]byte(run("secret", "--agent", "eur-trend", "--namespace", "desk")), &secret); err != nil {
		t.Fatal(err)
	}
	// By stringData a key that is revoked here would stay in the cluster for ever.
	if secret.Name != "eur-trend-api-keys" || secret.Namespace != "desk" || len(secret.StringData) > 0 || !lets(t, secret.Data, first) || !lets(t, secret.Data, second) {
		t.Errorf("the Secret is %+v", secret)
	}
	run("revoke", "dashboard")
	if lets(t, kept(), first) || lets(t, kept(), second) {
		t.Error("a revoked key opens")
	}
	for name, c := range map[string]struct {
		arguments []string
		want      string
	}{
		"no file":        {[]string{"keys", "list"}, "--keys-file is missing"},
		"no such key":    {[]string{"keys", "--keys-file", path, "revoke", "dashboard"}, `no key "dashboard"`},
		"no agent":       {[]string{"keys", "--keys-file", path, "secret"}, "--agent"},
		"not a file":     {[]string{"keys", "--keys-file", "keys.go", "list"}, "not a keys file"},
		"proxies":        {[]string{"run", "-f", samples, "--agent", "eur-trend", "--listen", "127.0.0.1:0", "--trusted-proxies", "10.0.0.0"}, "--trusted-proxies"},
		"in the clear":   {[]string{"run", "-f", samples, "--agent", "eur-trend", "--listen", "0.0.0.0:0"}, "in the clear"},
		"half a pair":    {[]string{"run", "-f", samples, "--agent", "eur-trend", "--listen", "127.0.0.1:0", "--tls-cert-file", "x"}, "belong together"},
		"no file to run": {[]string{"run", "-f", samples, "--agent", "eur-trend", "--listen", "127.0.0.1:0", "--keys-file", "keys.go"}, "--keys-file"},
	} {
		if _, _, err := command(t, c.arguments...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: the error %v does not say %q", name, err, c.want)
		}
	}
}

func TestNobodysKeyIsLost(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.json")
	const makers = 12
	made := make([]string, makers)
	var wait sync.WaitGroup
	for i := range makers {
		wait.Go(func() {
			output, _, err := command(t, "keys", "--keys-file", path, "create", "--name", fmt.Sprintf("key-%d", i))
			if err != nil {
				t.Error(err)
			}
			made[i] = output
		})
	}
	wait.Wait()
	data, err := keys.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range made {
		if !lets(t, data, made[i]) {
			t.Errorf("key %d of %d made at once is lost", i, makers)
		}
	}
}
