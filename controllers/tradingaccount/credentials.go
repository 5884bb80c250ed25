package tradingaccount

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/controllers/tradingaccount/listings"
	"github.com/three-rivers-tech/trading-operator/internal/venue/coinbase"
)

// Coinbase asks Coinbase with the credentials of accounts.
type Coinbase struct {
	// Reader may be a cache; Live reads Secrets past it, so that the operator never
	// holds the cluster's Secrets in memory.
	Reader, Live client.Reader
	Client       *coinbase.Client
}

// secretVersion tells one content of a Secret from another.
type secretVersion struct {
	uid             types.UID
	resourceVersion string
}

// credentialsError says why an account's credentials cannot be used. It holds no
// part of them.
type credentialsError struct{ reason, message string }

func (e *credentialsError) Error() string { return e.message }

// credentials reads an account's key. It fails with a credentialsError where the
// user must act.
func (c *Coinbase) credentials(ctx context.Context, account *v1alpha1.TradingAccount) (*coinbase.Credentials, secretVersion, error) {
	if account.Spec.Coinbase == nil {
		return nil, secretVersion{}, errors.New("spec.coinbase is missing")
	}
	name := account.Spec.Coinbase.CredentialsRef.Name
	secret := &corev1.Secret{}
	err := c.Live.Get(ctx, client.ObjectKey{Namespace: account.Namespace, Name: name}, secret)
	if apierrors.IsNotFound(err) {
		return nil, secretVersion{}, &credentialsError{v1alpha1.ReasonCredentialsNotFound, fmt.Sprintf(
			"Secret %q does not exist; create it with the keys %q and %q, or correct spec.coinbase.credentialsRef.name",
			name, v1alpha1.CoinbaseKeyName, v1alpha1.CoinbasePrivateKey)}
	}
	if err != nil {
		return nil, secretVersion{}, fmt.Errorf("read Secret %q: %w", name, err)
	}
	version := secretVersion{secret.UID, secret.ResourceVersion}
	for _, key := range []string{v1alpha1.CoinbaseKeyName, v1alpha1.CoinbasePrivateKey} {
		if len(secret.Data[key]) == 0 {
			return nil, version, &credentialsError{v1alpha1.ReasonCredentialsNotFound, fmt.Sprintf("Secret %q has no key %q; add it", name, key)}
		}
	}
	credentials, err := coinbase.ParseCredentials(string(secret.Data[v1alpha1.CoinbaseKeyName]), string(secret.Data[v1alpha1.CoinbasePrivateKey]))
	if err != nil {
		return nil, version, &credentialsError{v1alpha1.ReasonCredentialsInvalid, fmt.Sprintf("Secret %q: %s", name, err)}
	}
	return credentials, version, nil
}

// Product asks how an account trades a product; it is the listings' Ask.
func (c *Coinbase) Product(ctx context.Context, key listings.Key) (coinbase.Product, error) {
	account := &v1alpha1.TradingAccount{}
	err := c.Reader.Get(ctx, key.Account, account)
	if apierrors.IsNotFound(err) || err == nil && account.UID != key.UID {
		return coinbase.Product{}, listings.ErrGone
	}
	if err != nil {
		return coinbase.Product{}, fmt.Errorf("read the account: %w", err)
	}
	credentials, _, err := c.credentials(ctx, account)
	if err != nil {
		return coinbase.Product{}, err
	}
	return c.Client.Product(ctx, account.Spec.Coinbase.Environment, credentials, key.Product)
}
