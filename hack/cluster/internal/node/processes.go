package node

import (
	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/box"
)

// processes lists the daemons in the order in which `status` shows them; what
// must answer before each start is in After.
func processes(o Options) []box.Process {
	l, pki := o.Layout, o.Layout.PKI()
	ready := Server(o.Network) + "/readyz"
	etcd := []string{
		l.Bin("etcd"), "--name=desk", "--data-dir=" + l.Data("etcd"),
		// Loopback of the box: no pod and nothing on the host can reach it.
		"--listen-client-urls=http://127.0.0.1:2379", "--advertise-client-urls=http://127.0.0.1:2379",
		"--listen-peer-urls=http://127.0.0.1:2380", "--initial-advertise-peer-urls=http://127.0.0.1:2380",
		"--initial-cluster=desk=http://127.0.0.1:2380", "--log-level=warn",
	}
	if o.UnsafeNoFsync {
		etcd = append(etcd, "--unsafe-no-fsync")
	}
	return []box.Process{
		{Name: "etcd", Args: etcd},
		{Name: "kube-apiserver", After: []string{"tcp://127.0.0.1:2379"}, Args: []string{
			l.Bin("kube-apiserver"), "--etcd-servers=http://127.0.0.1:2379",
			"--advertise-address=" + o.Network.Box().String(), "--secure-port=6443",
			"--service-cluster-ip-range=" + o.Network.Services.String(),
			"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--anonymous-auth=false",
			"--allow-privileged=true", "--profiling=false",
			"--client-ca-file=" + pki + "/ca.crt", "--tls-cert-file=" + pki + "/apiserver.crt", "--tls-private-key-file=" + pki + "/apiserver.key",
			"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
			"--service-account-key-file=" + pki + "/sa.pub", "--service-account-signing-key-file=" + pki + "/sa.key",
			"--kubelet-client-certificate=" + pki + "/apiserver-kubelet.crt", "--kubelet-client-key=" + pki + "/apiserver-kubelet.key",
			"--kubelet-certificate-authority=" + pki + "/ca.crt", "--kubelet-preferred-address-types=InternalIP",
		}},
		{Name: "kube-controller-manager", After: []string{ready}, Args: []string{
			l.Bin("kube-controller-manager"), "--kubeconfig=" + l.Etc("controller-manager.kubeconfig"),
			"--bind-address=127.0.0.1", "--leader-elect=false", "--use-service-account-credentials",
			"--service-account-private-key-file=" + pki + "/sa.key", "--root-ca-file=" + pki + "/ca.crt",
			"--cluster-signing-cert-file=" + pki + "/ca.crt", "--cluster-signing-key-file=" + pki + "/ca.key",
			"--cluster-cidr=" + o.Network.Pods.String(), "--allocate-node-cidrs=false", "--profiling=false",
		}},
		{Name: "kube-scheduler", After: []string{ready}, Args: []string{
			l.Bin("kube-scheduler"), "--kubeconfig=" + l.Etc("scheduler.kubeconfig"),
			"--bind-address=127.0.0.1", "--leader-elect=false", "--profiling=false",
		}},
		{Name: "containerd", Env: []string{"PATH=" + l.Bin("") + ":/usr/sbin:/usr/bin:/sbin:/bin"}, Args: []string{
			l.Bin("containerd"), "--config", l.Etc("containerd.toml"),
		}},
		{Name: "kubelet", After: []string{ready, "unix://" + l.Run("containerd.sock")}, Args: []string{
			l.Bin("kubelet"), "--config=" + l.Etc("kubelet.yaml"), "--kubeconfig=" + l.Etc("kubelet.kubeconfig"),
			"--hostname-override=" + Name, "--node-ip=" + o.Network.Box().String(),
		}},
		{Name: "kube-proxy", After: []string{ready}, Args: []string{
			l.Bin("kube-proxy"), "--config=" + l.Etc("kube-proxy.yaml"),
		}},
	}
}
