package reconcile

import (
	"encoding/json"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
)

// RevisionVariable hands an agent's process the fields of the spec that it runs by.
const RevisionVariable = "AGENT_REVISION"

// EscapeReferences keeps the kubelet from taking a part of a variable's value for a
// variable.
func EscapeReferences(value string) string { return strings.ReplaceAll(value, "$", "$$") }

// RunningRevision is what the process in a pod runs by, whatever spec and status say
// meanwhile; nil if the pod was handed none and its process follows the spec.
func RunningRevision(pod *corev1.Pod) (*v1alpha1.AgentRevision, error) {
	for i := range pod.Spec.Containers {
		for _, variable := range pod.Spec.Containers[i].Env {
			if variable.Name != RevisionVariable || variable.Value == "" {
				continue
			}
			revision := &v1alpha1.AgentRevision{}
			if err := json.Unmarshal([]byte(strings.ReplaceAll(variable.Value, "$$", "$")), revision); err != nil {
				return nil, fmt.Errorf("decode the revision that pod %s runs: %w", pod.Name, err)
			}
			return revision, nil
		}
	}
	return nil, nil
}

// revisionOnly is what a cached pod keeps of its containers.
func revisionOnly(containers []corev1.Container) []corev1.Container {
	for i := range containers {
		for _, variable := range containers[i].Env {
			if variable.Name == RevisionVariable {
				return []corev1.Container{{Name: containers[i].Name, Env: []corev1.EnvVar{{Name: variable.Name, Value: variable.Value}}}}
			}
		}
	}
	return nil
}
