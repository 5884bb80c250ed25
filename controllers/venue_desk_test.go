package controllers_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/shopspring/decimal"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/controllers"
	"github.com/three-rivers-tech/trading-operator/controllers/reconcile"
	simulated "github.com/three-rivers-tech/trading-operator/test/venuesim/coinbase"
	"github.com/three-rivers-tech/trading-operator/test/venuesim/exchange"
	"github.com/three-rivers-tech/trading-operator/test/venuesim/process"
)

// eventuallyGeneration waits until the newest spec of an object was looked at.
func eventuallyGeneration(d *desk, object client.Object) {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		g.Expect(bench.Client.Get(d.ctx, client.ObjectKeyFromObject(object), object)).To(Succeed())
		g.Expect(*reconcile.StatusOf(object).ObservedGeneration).To(Equal(object.GetGeneration()))
	}).WithTimeout(patience).WithPolling(interval).Should(Succeed())
}

func bitcoin() exchange.Product {
	return exchange.Product{
		Symbol: "BTC-USD", Base: "BTC", Quote: "USD", Tick: decimal.New(1, -2), Lot: decimal.New(1, -8),
		MinQuantity: decimal.New(1, -8), MinNotional: decimal.NewFromInt(1),
	}
}

// keyPair is what a Secret holds.
type keyPair struct{ Name, PrivateKey string }

func newKey(ctx SpecContext, venue *process.Venue, edit func(*exchange.Key)) (keyPair, exchange.Key) {
	GinkgoHelper()
	name, privateKey, key, err := simulated.NewKey(edit)
	Expect(err).NotTo(HaveOccurred())
	Expect(venue.PutKey(ctx, key)).To(Succeed())
	return keyPair{name, privateKey}, key
}

// requestsOf counts what was asked with a key.
func requestsOf(ctx SpecContext, venue *process.Venue, key exchange.Key) int {
	GinkgoHelper()
	seen, err := venue.Requests(ctx)
	Expect(err).NotTo(HaveOccurred())
	count := 0
	for _, request := range seen {
		if request.Key == key.Name {
			count++
		}
	}
	return count
}

func (d *desk) keySecret(credentials keyPair) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: d.meta("coinbase"), Data: map[string][]byte{
		v1alpha1.CoinbaseKeyName: []byte(credentials.Name), v1alpha1.CoinbasePrivateKey: []byte(credentials.PrivateKey),
	}}
}

func (d *desk) liveAccount() *v1alpha1.TradingAccount {
	return &v1alpha1.TradingAccount{ObjectMeta: d.meta("live"), Spec: v1alpha1.TradingAccountSpec{
		Venue: v1alpha1.VenueCoinbase, LedgerRef: v1alpha1.ObjectReference{Name: "main"},
		Coinbase: &v1alpha1.CoinbaseAccountSpec{Environment: v1alpha1.EnvironmentProduction, CredentialsRef: v1alpha1.ObjectReference{Name: "coinbase"}, AccountShare: v1alpha1.AccountShare{Currency: "USD", Balance: "1000"}},
	}}
}

// liveAgent trades on the live account; BTC/USD if no pair is given.
func (d *desk) liveAgent(name string, pairs ...string) *v1alpha1.TradingAgent {
	if len(pairs) == 0 {
		pairs = []string{"BTC/USD"}
	}
	agent := d.agent(name, pairs...)
	agent.Spec.Mode, agent.Spec.AccountRef.Name = v1alpha1.ModeLive, "live"
	agent.Spec.MarketData = v1alpha1.MarketDataSpec{Source: v1alpha1.DataSourceCoinbase}
	agent.Spec.ControlPlane = &v1alpha1.ControlPlaneSpec{OnLoss: v1alpha1.LossHalt}
	return agent
}

func (d *desk) bitcoinPair(tick, lot v1alpha1.PositiveDecimal) *v1alpha1.AssetPair {
	pair := d.pair("btc-usd", "BTC", "USD")
	pair.Spec.TickSize, pair.Spec.LotSize, pair.Spec.MinNotional = tick, lot, "1"
	return pair
}

// touchAccount wakes the controller of the account, as its own timer does.
func (d *desk) touchAccount() {
	GinkgoHelper()
	d.create(d.liveAgent("touch"))
	Expect(bench.Client.Delete(d.ctx, d.liveAgent("touch"))).To(Succeed())
}

// eventuallyAccount wakes the account's controller until its Ready condition is
// as wanted: a Secret and a clock wake nobody.
func (d *desk) eventuallyAccount(wanted metav1.ConditionStatus, reason string) {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		d.touchAccount()
		ready := reconcile.StatusOf(get(d, &v1alpha1.TradingAccount{}, "live")).Get(v1alpha1.ConditionReady)
		g.Expect(ready).NotTo(BeNil())
		g.Expect(ready.Reason).To(Equal(reason), ready.Message)
		g.Expect(ready.Status).To(Equal(wanted))
	}).WithTimeout(patience).WithPolling(10 * interval).Should(Succeed())
	d.checkInvariants()
}

func (d *desk) eventuallyPlatform(agent, reason, message string) {
	GinkgoHelper()
	d.eventually(agent, func(g Gomega, agent *v1alpha1.TradingAgent) {
		platform := reconcile.StatusOf(agent).Get(v1alpha1.ConditionPlatformValid)
		g.Expect(platform).NotTo(BeNil())
		g.Expect(platform.Reason).To(Equal(reason), platform.Message)
		g.Expect(platform.Message).To(ContainSubstring(message))
		g.Expect(platform.Status).NotTo(Equal(metav1.ConditionTrue))
	})
}

// claimName of an account in production, by which any operator finds it.
func claimName(portfolio string) string {
	sum := sha256.Sum256([]byte("Coinbase/Production/" + portfolio))
	return "account-" + hex.EncodeToString(sum[:20])
}

func (d *desk) claim(portfolio string) *coordinationv1.Lease {
	GinkgoHelper()
	lease := &coordinationv1.Lease{}
	Expect(bench.Client.Get(d.ctx, client.ObjectKey{Namespace: controllers.DefaultNamespace, Name: claimName(portfolio)}, lease)).To(Succeed())
	return lease
}

func (d *desk) claims() []string {
	GinkgoHelper()
	var list coordinationv1.LeaseList
	Expect(bench.Client.List(d.ctx, &list, client.InNamespace(controllers.DefaultNamespace))).To(Succeed())
	names := make([]string, 0, len(list.Items))
	for i := range list.Items {
		names = append(names, list.Items[i].Name)
	}
	return names
}

// nothingTells makes sure that no part of a key is in any object's status, in any
// Event or in the operator's log.
func (d *desk) nothingTells(credentials keyPair) {
	GinkgoHelper()
	var accounts v1alpha1.TradingAccountList
	var events eventsv1.EventList
	Expect(bench.Client.List(d.ctx, &accounts, client.InNamespace(d.namespace))).To(Succeed())
	Expect(bench.Client.List(d.ctx, &events, client.InNamespace(d.namespace))).To(Succeed())
	said := fmt.Sprintf("%+v %+v %s", accounts, events, GinkgoWriter.(interface{ Bytes() []byte }).Bytes())
	parts := append(strings.Split(strings.TrimSpace(credentials.PrivateKey), "\n"), strings.Split(credentials.Name, "/")...)
	for _, part := range parts {
		if len(part) > 20 && !strings.HasPrefix(part, "-----") {
			Expect(said).NotTo(ContainSubstring(part))
		}
	}
	Expect(said).NotTo(ContainSubstring("eyJ"), "every token begins so")
}
