package controllers_test

import (
	"path/filepath"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/controllers/testbench"
)

// gitops is who applies the manifests of a repository, again and again.
const gitops = client.FieldOwner("gitops")

var _ = Describe("A manifest in a repository", func() {
	It("never differs from what the operator leaves of it", func(ctx SpecContext) {
		d := newDesk(ctx)
		samples := d.samples()
		d.create(d.secret())
		for _, sample := range samples {
			Expect(d.applySample(sample)).Error().NotTo(HaveOccurred())
		}
		agents := 0
		for _, sample := range samples {
			if sample.GetKind() == "TradingAgent" {
				d.bringUp(sample.GetName())
				agents++
			}
		}
		Expect(agents).To(BeNumerically(">=", 2))

		for _, sample := range samples {
			By(sample.GetKind() + " " + sample.GetName())
			Eventually(func(g Gomega) {
				live := liveOf(g, d, sample)
				ready, _, err := unstructured.NestedSlice(live.Object, "status", "conditions")
				g.Expect(err).NotTo(HaveOccurred())
				g.Expect(ready).To(ContainElement(And(HaveKeyWithValue("type", v1alpha1.ConditionReady), HaveKeyWithValue("status", string(metav1.ConditionTrue)))))
				// As Flux and kubectl diff --server-side look for it.
				dry, err := d.applySample(sample, client.DryRunAll)
				g.Expect(err).NotTo(HaveOccurred())
				g.Expect(dry.Object).To(Equal(live.Object))
				// As Argo CD does: nothing is there that the repository does not say.
				g.Expect(live.Object["spec"]).To(Equal(sample.Object["spec"]))
				g.Expect(live.GetLabels()).To(Equal(sample.GetLabels()))
				g.Expect(live.GetAnnotations()).To(Equal(sample.GetAnnotations()))
			}).WithTimeout(patience).WithPolling(interval).Should(Succeed())
		}
	})
})

// samples are the desk's objects in config/samples, put into this desk.
func (d *desk) samples() []*unstructured.Unstructured {
	GinkgoHelper()
	files, err := filepath.Glob("../config/samples/*.yaml")
	Expect(err).NotTo(HaveOccurred())
	objects, err := testbench.Objects(files...)
	Expect(err).NotTo(HaveOccurred())
	var samples []*unstructured.Unstructured
	kinds := map[string]bool{}
	for _, object := range objects {
		if object.GroupVersionKind().GroupVersion() == v1alpha1.GroupVersion {
			object.SetNamespace(d.namespace)
			samples = append(samples, object)
			kinds[object.GetKind()] = true
		}
	}
	Expect(kinds).To(HaveLen(5), "there is a sample of every kind")
	return samples
}

// applySample applies a sample without taking anything from others, and returns
// what the API server makes of it.
func (d *desk) applySample(sample *unstructured.Unstructured, options ...client.ApplyOption) (*unstructured.Unstructured, error) {
	object := sample.DeepCopy()
	err := bench.Client.Apply(d.ctx, client.ApplyConfigurationFromUnstructured(object), append(options, gitops)...)
	return object, err
}

func liveOf(g Gomega, d *desk, sample *unstructured.Unstructured) *unstructured.Unstructured {
	live := &unstructured.Unstructured{}
	live.SetGroupVersionKind(sample.GroupVersionKind())
	g.Expect(bench.Client.Get(d.ctx, client.ObjectKeyFromObject(sample), live)).To(Succeed())
	return live
}
