package controllers_test

import (
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/controllers/reconcile"
	simulated "github.com/three-rivers-tech/trading-operator/test/venuesim/coinbase"
	"github.com/three-rivers-tech/trading-operator/test/venuesim/exchange"
	"github.com/three-rivers-tech/trading-operator/test/venuesim/process"
)

// An account at Coinbase is checked against an exchange in a process of its own.
var _ = Describe("A TradingAccount at Coinbase", Ordered, ContinueOnFailure, func() {
	var (
		d     *desk
		venue *process.Venue
	)
	BeforeAll(func(ctx SpecContext) {
		running, err := process.Start(ctx, "coinbase")
		Expect(err).NotTo(HaveOccurred())
		venue = running.Venue("coinbase")
		DeferCleanup(func() {
			Expect(bench.Venue.Connect("")).To(Succeed())
			Expect(running.Stop()).To(Succeed())
		})
	})
	BeforeEach(func(ctx SpecContext) {
		d = newDesk(ctx)
		Expect(bench.Venue.Connect(venue.URL)).To(Succeed())
		Expect(venue.SetFaults(ctx)).To(Succeed())
		Expect(venue.PutProduct(ctx, bitcoin())).To(Succeed())
		d.create(d.secret(), d.ledger())
	})

	It("is Ready when its key may trade and not withdraw", func(ctx SpecContext) {
		credentials, key := newKey(ctx, venue, nil)
		d.create(d.keySecret(credentials), d.liveAccount())
		account := d.liveAccount()
		eventuallyReady(d, account, metav1.ConditionTrue, v1alpha1.ReasonReady)
		Expect(account.Status.VenueAccount).To(HaveValue(Equal(v1alpha1.VenueAccountStatus{
			ID: key.Account, Type: "DEFAULT", Permissions: []v1alpha1.KeyPermission{v1alpha1.PermissionView, v1alpha1.PermissionTrade},
		})))
		claim := d.claim(key.Account)
		Expect(claim.Spec.HolderIdentity).To(HaveValue(Equal(d.namespace + "/live/" + string(account.UID))))
		d.nothingTells(credentials)

		// Settled, it writes nothing and asks the venue for nothing.
		asked := requestsOf(ctx, venue, key)
		aboutTheAccount := func(writes []string) []string {
			return slices.DeleteFunc(d.own(writes), func(write string) bool { return !strings.Contains(write, "/tradingaccounts/") })
		}
		Eventually(bench.Writes).WithTimeout(patience).WithPolling(calm).Should(WithTransform(aboutTheAccount, BeEmpty()))
		for _, other := range []string{"other", "uri", "another"} {
			// Whatever happens to the ledger wakes the account's controller.
			change(d, d.ledger(), func(ledger *v1alpha1.Ledger) { ledger.Spec.URISecretRef.Key = other })
			eventuallyGeneration(d, d.ledger())
		}
		Consistently(bench.Writes).WithTimeout(calm).Should(WithTransform(aboutTheAccount, BeEmpty()))
		Expect(requestsOf(ctx, venue, key)).To(Equal(asked))
	})

	DescribeTable("is Stalled, and says why, with a key that",
		func(ctx SpecContext, reason string, edit func(*exchange.Key)) {
			credentials, _ := newKey(ctx, venue, edit)
			d.create(d.keySecret(credentials), d.liveAccount())
			account := d.liveAccount()
			eventuallyReady(d, account, metav1.ConditionFalse, reason)
			Expect(reconcile.StatusOf(account).Get(v1alpha1.ConditionStalled)).NotTo(BeNil())
			Expect(reconcile.StatusOf(account).Get(v1alpha1.ConditionAccepted).Status).To(Equal(metav1.ConditionFalse))
			d.nothingTells(credentials)

			By("a good key in the Secret clears it")
			good, _ := newKey(ctx, venue, nil)
			change(d, d.keySecret(good), func(secret *corev1.Secret) { secret.Data = d.keySecret(good).Data })
			d.eventuallyAccount(metav1.ConditionTrue, v1alpha1.ReasonReady)
			d.nothingTells(good)
		},
		Entry("may not trade", v1alpha1.ReasonKeyCannotTrade, func(key *exchange.Key) { key.CanTrade = false }),
		Entry("may not view", v1alpha1.ReasonKeyCannotView, func(key *exchange.Key) { key.CanView = false }),
		Entry("may withdraw", v1alpha1.ReasonKeyCanWithdraw, func(key *exchange.Key) { key.CanTransfer = true }),
		Entry("is one of another environment", v1alpha1.ReasonCredentialsRefused, func(key *exchange.Key) { key.Environment = "Sandbox" }),
	)

	It("is Stalled with a key that the venue does not know, and with what is no key", func(ctx SpecContext) {
		credentials, _ := newKey(ctx, venue, nil)
		credentials.Name += "x"
		d.create(d.keySecret(credentials), d.liveAccount())
		d.eventuallyAccount(metav1.ConditionFalse, v1alpha1.ReasonCredentialsRefused)
		d.nothingTells(credentials)
		broken := keyPair{Name: "organizations/o/apiKeys/k", PrivateKey: string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: []byte("canary-canary")}))}
		change(d, d.keySecret(broken), func(secret *corev1.Secret) { secret.Data = d.keySecret(broken).Data })
		d.eventuallyAccount(metav1.ConditionFalse, v1alpha1.ReasonCredentialsInvalid)
		d.nothingTells(broken)
	})

	It("waits for its Secret and for both of its keys", func(ctx SpecContext) {
		d.create(d.liveAccount())
		account := d.liveAccount()
		eventuallyReady(d, account, metav1.ConditionFalse, v1alpha1.ReasonCredentialsNotFound)
		Expect(reconcile.StatusOf(account).Get(v1alpha1.ConditionReconciling)).NotTo(BeNil(), "GitOps applies in any order")
		credentials, _ := newKey(ctx, venue, nil)
		secret := d.keySecret(credentials)
		delete(secret.Data, v1alpha1.CoinbasePrivateKey)
		d.create(secret)
		Eventually(func() string {
			d.touchAccount()
			return reconcile.StatusOf(get(d, &v1alpha1.TradingAccount{}, "live")).Get(v1alpha1.ConditionReady).Message
		}).WithTimeout(patience).Should(ContainSubstring(`Secret "coinbase" has no key "private-key"`))
		change(d, d.keySecret(credentials), func(secret *corev1.Secret) { secret.Data = d.keySecret(credentials).Data })
		d.eventuallyAccount(metav1.ConditionTrue, v1alpha1.ReasonReady)
	})

	It("goes on by itself when a lost venue answers again", func(ctx SpecContext) {
		for _, fault := range []exchange.Fault{
			{Kind: exchange.ResetBefore},
			{Kind: exchange.Truncate},
			{Kind: exchange.StatusBefore, Status: 503},
		} {
			Expect(venue.SetFaults(ctx, fault)).To(Succeed())
			credentials, _ := newKey(ctx, venue, nil)
			secret := d.keySecret(credentials)
			d.create(secret, d.liveAccount())
			account := d.liveAccount()
			eventuallyReady(d, account, metav1.ConditionFalse, v1alpha1.ReasonVenueUnreachable)
			Expect(reconcile.StatusOf(account).Get(v1alpha1.ConditionStalled)).To(BeNil(), "nobody needs to act")
			d.nothingTells(credentials)
			Expect(venue.SetFaults(ctx)).To(Succeed())
			eventuallyReady(d, account, metav1.ConditionTrue, v1alpha1.ReasonReady)

			By("its last word stands while the venue is away")
			Expect(venue.SetFaults(ctx, fault)).To(Succeed())
			bench.Clock.SetTime(bench.Clock.Now().Add(time.Hour))
			d.eventuallyAccount(metav1.ConditionFalse, v1alpha1.ReasonVenueUnreachable)
			account = get(d, &v1alpha1.TradingAccount{}, "live")
			Expect(reconcile.StatusOf(account).Get(v1alpha1.ConditionAccepted).Status).To(Equal(metav1.ConditionTrue))
			Expect(bench.Client.Delete(d.ctx, account)).To(Succeed())
			Expect(bench.Client.Delete(d.ctx, secret)).To(Succeed())
		}
	})

	It("leaves a venue alone that asks for it", func(ctx SpecContext) {
		credentials, key := newKey(ctx, venue, nil)
		Expect(venue.SetFaults(ctx, exchange.Fault{Kind: exchange.StatusAfter, Status: 429, RetryAfter: 120})).To(Succeed())
		d.create(d.keySecret(credentials), d.liveAccount())
		d.eventuallyAccount(metav1.ConditionFalse, v1alpha1.ReasonVenueRateLimited)
		Expect(venue.SetFaults(ctx)).To(Succeed())
		for range 5 {
			d.touchAccount()
		}
		Consistently(func() int { return requestsOf(ctx, venue, key) }).WithTimeout(calm).Should(Equal(1))
		bench.Clock.SetTime(bench.Clock.Now().Add(3 * time.Minute))
		d.eventuallyAccount(metav1.ConditionTrue, v1alpha1.ReasonReady)
	})

	It("notices a permission that was added at the venue", func(ctx SpecContext) {
		credentials, key := newKey(ctx, venue, nil)
		d.create(d.keySecret(credentials), d.liveAccount())
		d.eventuallyAccount(metav1.ConditionTrue, v1alpha1.ReasonReady)
		key.CanTransfer = true
		Expect(venue.PutKey(ctx, key)).To(Succeed())
		bench.Clock.SetTime(bench.Clock.Now().Add(13 * time.Minute))
		d.eventuallyAccount(metav1.ConditionFalse, v1alpha1.ReasonKeyCanWithdraw)
		Expect(get(d, &v1alpha1.TradingAccount{}, "live").Status.VenueAccount.Permissions).To(ContainElement(v1alpha1.PermissionTransfer))
	})

	It("is one account at the venue only once, whatever the namespace", func(ctx SpecContext) {
		credentials, key := newKey(ctx, venue, nil)
		d.create(d.keySecret(credentials), d.liveAccount())
		d.eventuallyAccount(metav1.ConditionTrue, v1alpha1.ReasonReady)

		// Another key of the same account is the same account.
		second, _ := newKey(ctx, venue, func(other *exchange.Key) { other.Account = key.Account })
		elsewhere := newDesk(ctx)
		elsewhere.create(elsewhere.secret(), elsewhere.ledger(), elsewhere.keySecret(second), elsewhere.liveAccount())
		loser := elsewhere.liveAccount()
		eventuallyReady(elsewhere, loser, metav1.ConditionFalse, v1alpha1.ReasonAccountClaimed)
		stalled := reconcile.StatusOf(loser).Get(v1alpha1.ConditionStalled)
		Expect(stalled).NotTo(BeNil())
		Expect(stalled.Message).To(ContainSubstring("TradingAccount " + d.namespace + "/live"))
		d.eventuallyAccount(metav1.ConditionTrue, v1alpha1.ReasonReady)

		By("the claim passes on when its holder goes")
		Expect(bench.Client.Delete(d.ctx, d.liveAccount())).To(Succeed())
		eventuallyReady(elsewhere, loser, metav1.ConditionTrue, v1alpha1.ReasonReady)
		Expect(d.claim(key.Account).Spec.HolderIdentity).To(HaveValue(HavePrefix(elsewhere.namespace + "/live/")))

		By("nothing is left when the last one goes")
		Expect(bench.Client.Delete(d.ctx, elsewhere.liveAccount())).To(Succeed())
		Eventually(d.claims).WithTimeout(patience).ShouldNot(ContainElement(claimName(key.Account)))
	})

	It("may become another account while no agent trades on it, and not after", func(ctx SpecContext) {
		first, before := newKey(ctx, venue, nil)
		second, after := newKey(ctx, venue, nil)
		d.create(d.keySecret(first), d.liveAccount())
		d.eventuallyAccount(metav1.ConditionTrue, v1alpha1.ReasonReady)
		change(d, d.keySecret(second), func(secret *corev1.Secret) { secret.Data = d.keySecret(second).Data })
		Eventually(func() string {
			d.touchAccount()
			return get(d, &v1alpha1.TradingAccount{}, "live").Status.VenueAccount.ID
		}).WithTimeout(patience).Should(Equal(after.Account))
		Eventually(d.claims).WithTimeout(patience).Should(And(ContainElement(claimName(after.Account)), Not(ContainElement(claimName(before.Account)))))

		d.create(d.liveAgent("btc"))
		Eventually(func() any { return get(d, &v1alpha1.TradingAccount{}, "live").Status.Agents }).WithTimeout(patience).Should(HaveValue(BeEquivalentTo(1)))
		change(d, d.keySecret(first), func(secret *corev1.Secret) { secret.Data = d.keySecret(first).Data })
		d.eventuallyAccount(metav1.ConditionFalse, v1alpha1.ReasonVenueAccountChanged)
		Expect(d.claims()).To(ContainElement(claimName(after.Account)), "the account that agents trade on stays claimed")
		change(d, d.keySecret(second), func(secret *corev1.Secret) { secret.Data = d.keySecret(second).Data })
		d.eventuallyAccount(metav1.ConditionTrue, v1alpha1.ReasonReady)
	})

	It("cannot change its venue or environment, nor mix the parts of two venues", func() {
		for message, edit := range map[string]func(*v1alpha1.TradingAccountSpec){
			"coinbase is required when venue is Coinbase": func(s *v1alpha1.TradingAccountSpec) { s.Coinbase = nil },
			"paper is for venue Paper only": func(s *v1alpha1.TradingAccountSpec) {
				s.Paper = &v1alpha1.PaperAccountSpec{Currency: "USD", Balance: "1"}
			},
		} {
			account := d.liveAccount()
			edit(&account.Spec)
			Expect(bench.Client.Create(d.ctx, account)).To(MatchError(ContainSubstring(message)))
		}
		d.create(d.liveAccount())
		for message, edit := range map[string]func(*v1alpha1.TradingAccountSpec){
			"belong to the environment": func(s *v1alpha1.TradingAccountSpec) { s.Coinbase.Environment = v1alpha1.EnvironmentSandbox },
			"belong to the venue": func(s *v1alpha1.TradingAccountSpec) {
				s.Venue, s.Coinbase, s.Paper = v1alpha1.VenuePaper, nil, &v1alpha1.PaperAccountSpec{Currency: "USD", Balance: "1"}
			},
			"coinbase is required": func(s *v1alpha1.TradingAccountSpec) { s.Coinbase = nil },
		} {
			Eventually(func() error {
				account := get(d, &v1alpha1.TradingAccount{}, "live")
				edit(&account.Spec)
				return bench.Client.Update(d.ctx, account)
			}).WithTimeout(patience).WithPolling(interval).Should(MatchError(ContainSubstring(message)))
		}
		change(d, d.liveAccount(), func(account *v1alpha1.TradingAccount) { account.Spec.Coinbase.CredentialsRef.Name = "rotated" })
	})

	It("hands its credentials to the pods of its own agents, as files and by no right to read Secrets", func(ctx SpecContext) {
		credentials, _ := newKey(ctx, venue, func(key *exchange.Key) { key.Environment = "Sandbox" })
		sandbox := d.liveAccount()
		sandbox.Spec.Coinbase.Environment = v1alpha1.EnvironmentSandbox
		agent := d.agent("btc", "BTC/USD")
		agent.Spec.AccountRef.Name = "live"
		agent.Spec.MarketData.Replay.Dataset = "sample/btcusd-1d"
		d.create(d.keySecret(credentials), sandbox, d.policy(), d.bitcoinPair("0.01", "0.00000001"), agent)
		eventuallyReady(d, sandbox, metav1.ConditionTrue, v1alpha1.ReasonReady)
		pod := d.pod("btc")
		Expect(pod.Spec.Containers[0].Args).To(ContainElement("--credentials-dir=/etc/trading/credentials"))
		Expect(pod.Spec.Containers[0].VolumeMounts).To(ContainElement(corev1.VolumeMount{
			Name: "credentials", MountPath: "/etc/trading/credentials/coinbase", ReadOnly: true,
		}))
		mounted := pod.Spec.Volumes[slices.IndexFunc(pod.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == "credentials" })]
		Expect(mounted.Secret.SecretName).To(Equal("coinbase"))
		Expect(mounted.Secret.Items).To(ConsistOf(corev1.KeyToPath{Key: "key-name", Path: "key-name"}, corev1.KeyToPath{Key: "private-key", Path: "private-key"}))
		d.nothingTells(credentials)

		By("another Secret needs another process")
		change(d, sandbox, func(account *v1alpha1.TradingAccount) { account.Spec.Coinbase.CredentialsRef.Name = "rotated" })
		rotated := d.keySecret(credentials)
		rotated.Name = "rotated"
		d.create(rotated)
		Eventually(func(g Gomega) {
			live := &corev1.Pod{}
			err := bench.Client.Get(d.ctx, client.ObjectKeyFromObject(pod), live)
			g.Expect(err != nil || live.UID != pod.UID || live.DeletionTimestamp != nil).To(BeTrue())
		}).WithTimeout(patience).WithPolling(interval).Should(Succeed())
	})

	Describe("and its agents", func() {
		var key exchange.Key
		BeforeEach(func(ctx SpecContext) {
			var credentials keyPair
			credentials, key = newKey(ctx, venue, nil)
			d.create(d.keySecret(credentials), d.liveAccount(), d.policy())
			d.eventuallyAccount(metav1.ConditionTrue, v1alpha1.ReasonReady)
		})

		It("are let onto the venue when all is right", func() {
			d.create(d.bitcoinPair("0.01", "0.00000001"), d.liveAgent("btc"))
			d.eventuallyPhase("btc", v1alpha1.ConditionPlatformValid, metav1.ConditionTrue, v1alpha1.ReasonAccepted)
		})

		It("are told that only what is held can be sold, where admission did not know the account yet", func() {
			short := d.liveAgent("short")
			short.Spec.Decision = &v1alpha1.DecisionSpec{Direction: v1alpha1.DirectionLongShort}
			Eventually(func() error { return bench.Client.Create(d.ctx, short.DeepCopy()) }).WithTimeout(patience).Should(
				MatchError(ContainSubstring(`TradingAccount "live" is at Coinbase, which sells only what is held; use LongOnly`)))
			short.Spec.AccountRef.Name = "later"
			d.create(short, d.bitcoinPair("0.01", "0.00000001"))
			later := d.liveAccount()
			later.Name = "later"
			d.create(later)
			d.eventuallyPlatform("short", v1alpha1.ReasonShortUnsupported, "use LongOnly")
		})

		It("are told that the venue does not list a pair", func() {
			d.create(d.pair("abc-usd", "ABC", "USD"), d.liveAgent("abc", "ABC/USD"))
			d.eventuallyPlatform("abc", v1alpha1.ReasonPairNotListed, "does not list ABC-USD")
		})

		It("are told that a pair is closed", func(ctx SpecContext) {
			closed := bitcoin()
			closed.State = simulated.TradingDisabled
			Expect(venue.PutProduct(ctx, closed)).To(Succeed())
			d.create(d.bitcoinPair("0.01", "0.00000001"), d.liveAgent("btc"))
			d.eventuallyPlatform("btc", v1alpha1.ReasonPairNotTradable, "has trading disabled")
		})

		It("are told which tick and lot would be right", func() {
			d.create(d.bitcoinPair("0.001", "0.00000001"), d.liveAgent("btc"))
			d.eventuallyPlatform("btc", v1alpha1.ReasonTickMismatch, `create an AssetPair with tickSize "0.01"`)
			Expect(bench.Client.Delete(d.ctx, d.bitcoinPair("0.001", "0.00000001"))).To(Succeed())
			d.create(d.bitcoinPair("0.01", "0.000000001"))
			d.eventuallyPlatform("btc", v1alpha1.ReasonLotMismatch, `create an AssetPair with lotSize "0.00000001"`)
		})

		It("wait for a venue that cannot be asked, and go on when it can", func(ctx SpecContext) {
			Expect(venue.SetFaults(ctx, exchange.Fault{Path: "/products", Kind: exchange.StatusBefore, Status: 503})).To(Succeed())
			d.create(d.bitcoinPair("0.01", "0.00000001"), d.liveAgent("btc"))
			d.eventuallyPlatform("btc", v1alpha1.ReasonVenueChecking, "cannot be asked about BTC-USD")
			Expect(reconcile.StatusOf(d.readAgent("btc")).Get(v1alpha1.ConditionStalled)).To(BeNil(), "nobody needs to act")
			Expect(venue.SetFaults(ctx)).To(Succeed())
			d.eventuallyPhase("btc", v1alpha1.ConditionPlatformValid, metav1.ConditionTrue, v1alpha1.ReasonAccepted)
		})

		It("ask the venue once for a pair, however many they are", func(ctx SpecContext) {
			d.create(d.bitcoinPair("0.01", "0.00000001"))
			for i := range 5 {
				d.create(d.liveAgent(fmt.Sprintf("btc-%d", i)))
			}
			d.eventuallyPhase("btc-0", v1alpha1.ConditionPlatformValid, metav1.ConditionTrue, v1alpha1.ReasonAccepted)
			seen, err := venue.Requests(ctx)
			Expect(err).NotTo(HaveOccurred())
			asked := 0
			for _, request := range seen {
				if request.Key == key.Name && strings.HasSuffix(request.Path, "/products/BTC-USD") {
					asked++
				}
			}
			Expect(asked).To(Equal(1))
		})
	})
})
