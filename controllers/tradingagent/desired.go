package tradingagent

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/controllers/endpoint"
	"github.com/three-rivers-tech/trading-operator/controllers/reconcile"
)

const (
	// templateHashAnnotation on the pod holds the hash of all that needs a new
	// process when it changes.
	templateHashAnnotation = v1alpha1.GroupName + "/template-hash"

	// agentUser is the numeric user of the agent's image.
	agentUser int64 = 65532

	// stopSeconds is what a process is given to finish the command in hand: an
	// order and its answer, with the venue's time-out.
	stopSeconds int64 = 30

	ledgerDirectory = "/etc/trading/ledger"
	ledgerFile      = "uri"
	httpPort        = 8080

	// credentialsDirectory has a directory with the credentials of the agent's
	// account, named as its Secret is.
	credentialsDirectory = "/etc/trading/credentials" //nolint:gosec // a directory, and no credential

	// tlsDirectory holds the certificate of the agent's HTTPS listener, as soon as
	// there is one.
	tlsDirectory = "/etc/trading/tls"
	httpsPort    = 8443

	childSuffix = "-trader"
)

// ChildName is the name of all of an agent's children. It is deterministic:
// the API server itself then refuses a second pod.
func ChildName(agent metav1.Object) string { return agent.GetName() + childSuffix }

// desiredAccess builds what the agent's process needs to act at the API server.
func desiredAccess(agent *v1alpha1.TradingAgent) []client.Object {
	return []client.Object{desiredServiceAccount(agent), desiredRole(agent), desiredRoleBinding(agent)}
}

func desiredServiceAccount(agent *v1alpha1.TradingAgent) *corev1.ServiceAccount {
	return &corev1.ServiceAccount{
		ObjectMeta: childMeta(agent),
		// Only the agent's own pod, which asks for it, is given a token.
		AutomountServiceAccountToken: new(false),
	}
}

// desiredRole lets the agent watch its manifests and report about itself alone.
// Of the Secrets it may read the one with the hashes of its own API keys. It may
// halt itself, as its API is asked to.
func desiredRole(agent *v1alpha1.TradingAgent) *rbacv1.Role {
	return &rbacv1.Role{
		ObjectMeta: childMeta(agent),
		Rules: []rbacv1.PolicyRule{{
			APIGroups: []string{v1alpha1.GroupName},
			Resources: []string{"assetpairs", "ledgers", "riskpolicies", "tradingaccounts", "tradingagents", "tradinghalts"},
			Verbs:     []string{"get", "list", "watch"},
		}, {
			// Of itself alone; a policy of config/admission sees to that.
			APIGroups: []string{v1alpha1.GroupName},
			Resources: []string{"tradinghalts"},
			Verbs:     []string{"create"},
		}, {
			APIGroups:     []string{v1alpha1.GroupName},
			Resources:     []string{"tradingagents/status"},
			ResourceNames: []string{agent.Name},
			Verbs:         []string{"patch"},
		}, {
			APIGroups:     []string{""},
			Resources:     []string{"secrets"},
			ResourceNames: []string{keysSecret(agent)},
			Verbs:         []string{"get", "watch"},
		}},
	}
}

// keysSecret is the Secret with the agent's API keys.
func keysSecret(agent metav1.Object) string { return agent.GetName() + "-api-keys" }

func desiredRoleBinding(agent *v1alpha1.TradingAgent) *rbacv1.RoleBinding {
	return &rbacv1.RoleBinding{
		ObjectMeta: childMeta(agent),
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: ChildName(agent)},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: ChildName(agent), Namespace: agent.Namespace}},
	}
}

func childMeta(agent *v1alpha1.TradingAgent) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Name:      ChildName(agent),
		Namespace: agent.Namespace,
		Labels:    reconcile.Owned(agent),
		OwnerReferences: []metav1.OwnerReference{
			*metav1.NewControllerRef(agent, v1alpha1.GroupVersion.WithKind("TradingAgent")),
		},
	}
}

// desiredPod builds the agent's pod of the target revision. Every reference must
// be resolved.
func desiredPod(s *scope) *corev1.Pod {
	meta := childMeta(s.agent)
	meta.Labels = maps.Clone(meta.Labels)
	meta.Annotations = map[string]string{
		templateHashAnnotation: s.hash,
		// A trader that holds a position is not moved for the sake of packing.
		"cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
		"kubectl.kubernetes.io/default-container":        "trading-agent",
	}
	return &corev1.Pod{
		ObjectMeta: meta,
		Spec: corev1.PodSpec{
			ServiceAccountName:            ChildName(s.agent),
			AutomountServiceAccountToken:  new(true),
			EnableServiceLinks:            new(false),
			RestartPolicy:                 corev1.RestartPolicyAlways,
			TerminationGracePeriodSeconds: new(stopSeconds),
			SecurityContext: &corev1.PodSecurityContext{
				RunAsNonRoot:   new(true),
				RunAsUser:      new(agentUser),
				RunAsGroup:     new(agentUser),
				FSGroup:        new(agentUser),
				SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			},
			Containers: []corev1.Container{desiredContainer(s)},
			Volumes:    desiredVolumes(s),
		},
	}
}

func desiredContainer(s *scope) corev1.Container {
	return corev1.Container{
		Name:  "trading-agent",
		Image: s.target.content.Image,
		Args:  desiredArguments(s),
		Env: []corev1.EnvVar{
			fromField("POD_NAME", "metadata.name"),
			fromField("POD_NAMESPACE", "metadata.namespace"),
			fromField("POD_UID", "metadata.uid"),
			fromField("NODE_NAME", "spec.nodeName"),
			{Name: reconcile.RevisionVariable, Value: reconcile.EscapeReferences(string(s.target.data))},
		},
		Ports: []corev1.ContainerPort{
			{Name: "http", ContainerPort: httpPort, Protocol: corev1.ProtocolTCP},
			{Name: endpoint.PortName, ContainerPort: httpsPort, Protocol: corev1.ProtocolTCP},
		},
		Resources: corev1.ResourceRequirements{
			Requests: corev1.ResourceList{
				corev1.ResourceCPU:    resource.MustParse("25m"),
				corev1.ResourceMemory: resource.MustParse("64Mi"),
			},
			Limits: corev1.ResourceList{
				corev1.ResourceCPU:    resource.MustParse("1"),
				corev1.ResourceMemory: resource.MustParse("512Mi"),
			},
		},
		LivenessProbe:  httpProbe("/healthz", 10, 6),
		ReadinessProbe: httpProbe("/readyz", 2, 3),
		VolumeMounts:   desiredMounts(s),
		SecurityContext: &corev1.SecurityContext{
			AllowPrivilegeEscalation: new(false),
			ReadOnlyRootFilesystem:   new(true),
			Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		},
	}
}

func desiredArguments(s *scope) []string {
	arguments := []string{
		"run",
		"--namespace=$(POD_NAMESPACE)",
		"--agent=" + s.agent.Name,
		"--agent-uid=" + string(s.agent.UID),
		fmt.Sprintf("--listen=:%d", httpPort),
		"--ledger-uri-file=" + ledgerDirectory + "/" + ledgerFile,
	}
	if s.account.Access() != nil {
		arguments = append(arguments, "--credentials-dir="+credentialsDirectory)
		if s.gateway != "" {
			arguments = append(arguments, fmt.Sprintf("--venue-gateway=%s=%s", s.account.Spec.Venue, reconcile.EscapeReferences(s.gateway)))
		}
	}
	return arguments
}

func desiredMounts(s *scope) []corev1.VolumeMount {
	mounts := []corev1.VolumeMount{
		{Name: "ledger", MountPath: ledgerDirectory, ReadOnly: true},
		{Name: "tls", MountPath: tlsDirectory, ReadOnly: true},
		{Name: "tmp", MountPath: "/tmp"},
	}
	if access := s.account.Access(); access != nil {
		mounts = append(mounts, corev1.VolumeMount{Name: "credentials", MountPath: credentialsDirectory + "/" + access.Secret, ReadOnly: true})
	}
	return mounts
}

func desiredVolumes(s *scope) []corev1.Volume {
	uri := s.ledger.Spec.AgentURI()
	volumes := []corev1.Volume{{
		Name: "ledger",
		VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{
			SecretName:  uri.Name,
			DefaultMode: new(int32(0o440)),
			Items:       []corev1.KeyToPath{{Key: uri.Key, Path: ledgerFile}},
		}},
	}, {
		Name: "tls",
		VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{
			SecretName:  endpoint.InternalSecret(s.agent),
			DefaultMode: new(int32(0o440)),
			// Trading never waits for a certificate.
			Optional: new(true),
		}},
	}, {
		Name:         "tmp",
		VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{SizeLimit: new(resource.MustParse("64Mi"))}},
	}}
	if access := s.account.Access(); access != nil {
		volumes = append(volumes, desiredCredentials(access))
	}
	return volumes
}

// desiredCredentials are the keys of the account's Secret that its venue needs,
// and no others. The kubelet brings a changed Secret to the process.
func desiredCredentials(access *v1alpha1.VenueAccess) corev1.Volume {
	items := make([]corev1.KeyToPath, len(access.Keys))
	for i, key := range access.Keys {
		items[i] = corev1.KeyToPath{Key: key, Path: key}
	}
	return corev1.Volume{
		Name: "credentials",
		VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{
			SecretName: access.Secret, DefaultMode: new(int32(0o440)), Items: items,
		}},
	}
}

func fromField(name, path string) corev1.EnvVar {
	return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: path}}}
}

func httpProbe(path string, periodSeconds, failures int32) *corev1.Probe {
	return &corev1.Probe{
		ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{
			Path: path, Port: intstr.FromString("http"), Scheme: corev1.URISchemeHTTP,
		}},
		PeriodSeconds:    periodSeconds,
		TimeoutSeconds:   2,
		SuccessThreshold: 1,
		FailureThreshold: failures,
	}
}

// template is all that an agent's process reads once, at its start: its revision,
// and what that refers to. Limits, trading, deletionPolicy and the policy's name
// are not in it, because the agent watches those; nor is the operator's version,
// so that upgrading the operator restarts nobody.
type template struct {
	Revision   json.RawMessage          `json:"revision"`
	AccountRef v1alpha1.ObjectReference `json:"accountRef"`
	// The UIDs tell an object from another that came later under its name.
	AccountUID types.UID                   `json:"accountUID"`
	Paper      *v1alpha1.PaperAccountSpec  `json:"paper"`
	LedgerUID  types.UID                   `json:"ledgerUID"`
	LedgerURI  v1alpha1.SecretKeyReference `json:"ledgerURI"`
	// Credentials names the Secret of an account at a real venue.
	Credentials string      `json:"credentials,omitempty"`
	PairUIDs    []types.UID `json:"pairUIDs"`
}

// templateHash of the agent's pod. Every reference must be resolved.
func templateHash(s *scope) (string, error) {
	content := template{
		Revision:   s.target.data,
		AccountRef: s.agent.Spec.AccountRef,
		AccountUID: s.account.UID,
		Paper:      s.account.Spec.Paper,
		LedgerUID:  s.ledger.UID,
		LedgerURI:  s.ledger.Spec.AgentURI(),
	}
	if access := s.account.Access(); access != nil {
		content.Credentials = access.Secret
	}
	for _, pair := range s.find(s.target.content.AssetPairs) {
		content.PairUIDs = append(content.PairUIDs, pair.UID)
	}
	encoded, err := json.Marshal(content)
	if err != nil {
		return "", fmt.Errorf("encode the pod template's content: %w", err)
	}
	sum := sha256.Sum256(encoded)
	return hex.EncodeToString(sum[:8]), nil
}
