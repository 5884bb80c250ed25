package node

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/box"
	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/network"
)

// kubeconfigFile is what the tests read of a kubeconfig.
type kubeconfigFile struct {
	Clusters []struct {
		Cluster struct {
			Server string `yaml:"server"`
			CA     string `yaml:"certificate-authority-data"`
		} `yaml:"cluster"`
	} `yaml:"clusters"`
	Users []struct {
		User struct {
			Cert string `yaml:"client-certificate-data"`
			Key  string `yaml:"client-key-data"`
		} `yaml:"user"`
	} `yaml:"users"`
}

// prepare writes everything into a state directory of its own.
func prepare(t *testing.T) (o Options, config box.Config, admin []byte) {
	t.Helper()
	plan, err := network.ChoosePlan()
	if err != nil {
		t.Fatal(err)
	}
	o = Options{Layout: box.Layout{Dir: t.TempDir()}, Network: plan, Pause: "pause:1"}
	if err := o.Layout.Make(); err != nil {
		t.Fatal(err)
	}
	config, admin, err = Prepare(o)
	if err != nil {
		t.Fatal(err)
	}
	return o, config, admin
}

func TestPrepareWritesWhatTheDaemonsRead(t *testing.T) {
	o, config, _ := prepare(t)
	l := o.Layout
	if _, err := tls.LoadX509KeyPair(config.Client.Cert, config.Client.Key); err != nil {
		t.Error(err)
	}
	for _, name := range []string{
		"kubelet.kubeconfig", "scheduler.kubeconfig", "controller-manager.kubeconfig", "kube-proxy.kubeconfig",
		"10-pods.conflist", "containerd.toml", "kube-proxy.yaml", "kubelet.yaml", "resolv.conf",
	} {
		info, err := os.Stat(l.Etc(name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Size() == 0 || info.Mode() != 0o600 {
			t.Errorf("%s: %d bytes, mode %s", name, info.Size(), info.Mode())
		}
	}
	if left, err := filepath.Glob(l.Etc("*.new")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestKubeconfigsCarryTheirCertificates(t *testing.T) {
	o, config, admin := prepare(t)
	kubelet, err := fs.ReadFile(os.DirFS(o.Layout.Etc("")), "kubelet.kubeconfig")
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	for user, data := range map[string][]byte{"admin": admin, "system:node:" + Name: kubelet} {
		var file kubeconfigFile
		if err := yaml.Unmarshal(data, &file); err != nil || len(file.Clusters) != 1 || len(file.Users) != 1 {
			t.Fatalf("%s: %v\n%s", user, err, data)
		}
		if got := file.Clusters[0].Cluster.Server; got != Server(o.Network) {
			t.Errorf("%s: server %s", user, got)
		}
		if !roots.AppendCertsFromPEM(decode(t, file.Clusters[0].Cluster.CA)) {
			t.Errorf("%s: no authority in the kubeconfig", user)
		}
		pair, err := tls.X509KeyPair(decode(t, file.Users[0].User.Cert), decode(t, file.Users[0].User.Key))
		if err != nil {
			t.Fatalf("%s: %v", user, err)
		}
		if got := pair.Leaf.Subject.CommonName; got != user {
			t.Errorf("the kubeconfig of %s is of %s", user, got)
		}
		if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
			t.Errorf("%s: %v", user, err)
		}
	}
	if config.Hostname != Name {
		t.Errorf("the box is named %s", config.Hostname)
	}
}

func decode(t *testing.T, text string) []byte {
	t.Helper()
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
