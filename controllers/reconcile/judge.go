package reconcile

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
)

// Judge sets Accepted by what a validator found, and returns the outcome for a
// kind that has nothing else to report.
func Judge(object client.Object, reason string, errs field.ErrorList, now time.Time) Outcome {
	status := StatusOf(object)
	if len(errs) > 0 {
		message := errs.ToAggregate().Error()
		status.Set(v1alpha1.ConditionAccepted, metav1.ConditionFalse, reason, message, now)
		return Stall(reason, message)
	}
	status.Set(v1alpha1.ConditionAccepted, metav1.ConditionTrue, v1alpha1.ReasonAccepted, "the spec is valid", now)
	return Done(v1alpha1.ReasonReady, "the spec is valid")
}
