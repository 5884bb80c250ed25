//go:build e2etls

package e2etls

import (
	"context"
	"net/http"
	"strings"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
)

// describeRemoval takes cert-manager away, kinds and all, and brings it back with
// what its users had made.
func describeRemoval() {
	It("serve on and tell what is missing while cert-manager is gone, and are kept again when it is back", func(ctx SpecContext) {
		issued, err := serial(ctx, ingressHost)
		Expect(err).NotTo(HaveOccurred())
		// A challenge under way has a finalizer that nobody would take off.
		Eventually(kubectl).WithContext(ctx).WithArguments("get", "challenges", "-A", "-o", "name").Should(BeEmpty())
		kept := remember(ctx)
		scaleCertManager(ctx, "0")
		for _, definition := range kept.definitions {
			Expect(cluster.Delete(ctx, definition.DeepCopy())).To(Succeed())
		}
		for _, name := range []string{byIngress, byGateway} {
			Eventually(reasonOf).WithContext(ctx).WithArguments(name, v1alpha1.ConditionCertificateReady).Should(Equal("False " + v1alpha1.ReasonCertManagerMissing))
		}
		seen, err := curl(ctx, "https://"+ingressHost+statusPath)
		Expect(err).NotTo(HaveOccurred())
		Expect(seen.status).To(Equal(http.StatusUnauthorized), "the agent answers at its address")
		expectTrading(ctx, byIngress, byGateway)

		restore(ctx, kept)
		scaleCertManager(ctx, "1")
		expectVerified(ctx, byIngress)
		expectVerified(ctx, byGateway)
		Expect(serial(ctx, ingressHost)).To(Equal(issued), "a certificate that was there is kept")
	})
}

// installation is cert-manager's kinds, and the objects of them that people made.
type installation struct {
	definitions []apiextensionsv1.CustomResourceDefinition
	objects     []client.Object
}

func remember(ctx context.Context) (kept installation) {
	GinkgoHelper()
	var definitions apiextensionsv1.CustomResourceDefinitionList
	Expect(cluster.List(ctx, &definitions)).To(Succeed())
	for _, definition := range definitions.Items {
		if strings.HasSuffix(definition.Name, "cert-manager.io") {
			kept.definitions = append(kept.definitions, definition)
		}
	}
	Expect(kept.definitions).To(HaveLen(6))
	var issuers certmanagerv1.ClusterIssuerList
	var local certmanagerv1.IssuerList
	var certificates certmanagerv1.CertificateList
	for _, list := range []client.ObjectList{&issuers, &local, &certificates} {
		Expect(cluster.List(ctx, list)).To(Succeed())
	}
	for _, issuer := range issuers.Items {
		kept.objects = append(kept.objects, &certmanagerv1.ClusterIssuer{ObjectMeta: fresh(&issuer), Spec: issuer.Spec})
	}
	for _, issuer := range local.Items {
		kept.objects = append(kept.objects, &certmanagerv1.Issuer{ObjectMeta: fresh(&issuer), Spec: issuer.Spec})
	}
	for _, certificate := range certificates.Items {
		if len(certificate.OwnerReferences) == 0 { // the operator makes the others itself
			kept.objects = append(kept.objects, &certmanagerv1.Certificate{ObjectMeta: fresh(&certificate), Spec: certificate.Spec})
		}
	}
	return kept
}

// fresh is what an author writes of an object's metadata.
func fresh(object client.Object) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: object.GetName(), Namespace: object.GetNamespace(), Labels: object.GetLabels()}
}

func restore(ctx context.Context, kept installation) {
	GinkgoHelper()
	for _, definition := range kept.definitions {
		again := &apiextensionsv1.CustomResourceDefinition{ObjectMeta: fresh(&definition), Spec: definition.Spec}
		// The old one may still be going.
		Eventually(cluster.Create).WithContext(ctx).WithArguments(again).Should(Succeed(), definition.Name)
	}
	for _, object := range kept.objects {
		// A new kind takes a moment to be served.
		Eventually(cluster.Create).WithContext(ctx).WithArguments(object).Should(Succeed(), object.GetName())
	}
}

func scaleCertManager(ctx context.Context, replicas string) {
	GinkgoHelper()
	output, err := kubectl(ctx, "scale", "-n", "cert-manager", "deployment/cert-manager", "--replicas="+replicas)
	Expect(err).NotTo(HaveOccurred(), output)
	output, err = kubectl(ctx, "rollout", "status", "-n", "cert-manager", "deployment/cert-manager", "--timeout=2m")
	Expect(err).NotTo(HaveOccurred(), output)
}

func named(namespace, name string) types.NamespacedName {
	return types.NamespacedName{Namespace: namespace, Name: name}
}

// describeSecrets looks for the key that the tests used, and for Cloudflare's token,
// in everything that our programs said.
func describeSecrets(key func() string) {
	It("let no key and no token out", func(ctx SpecContext) {
		var said strings.Builder
		for _, arguments := range []string{
			"logs -n desk --all-containers --tail=-1 -l " + v1alpha1.AgentLabel,
			"logs -n trading-system --all-containers --tail=-1 deploy/trading-operator",
			"get events -A -o yaml",
			"get trading -A -o yaml",
			"get ingresses,services,certificates,httproutes -A -o yaml",
		} {
			output, err := kubectl(ctx, strings.Fields(arguments)...)
			Expect(err).NotTo(HaveOccurred(), output)
			Expect(output).NotTo(BeEmpty(), arguments)
			said.WriteString(output)
		}
		// The end is what nobody else may know; the beginning is the key's id.
		secret := key()[len(key())-40:]
		token := setToken(ctx, strings.Repeat("x", 40))
		setToken(ctx, token)
		Expect(strings.Contains(said.String(), secret)).To(BeFalse(), "a key is in what was said")
		Expect(strings.Contains(said.String(), token)).To(BeFalse(), "the token for Cloudflare is in what was said")
	})
}
