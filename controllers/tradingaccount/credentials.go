package tradingaccount

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/controllers/tradingaccount/listings"
	"github.com/three-rivers-tech/trading-operator/internal/venue"
	"github.com/three-rivers-tech/trading-operator/internal/venue/venues"
)

// Venues asks real venues with the credentials of accounts.
type Venues struct {
	// Reader may be a cache; Live reads Secrets past it, so that the operator never
	// holds the cluster's Secrets in memory.
	Reader, Live client.Reader
	Real         *venues.Venues
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
func (v *Venues) credentials(ctx context.Context, account *v1alpha1.TradingAccount) (venues.Credentials, secretVersion, error) {
	access := account.Access()
	if access == nil {
		return venues.Credentials{}, secretVersion{}, fmt.Errorf("the spec of TradingAccount %q says nothing of its account at %s", account.Name, account.Spec.Venue)
	}
	secret := &corev1.Secret{}
	err := v.Live.Get(ctx, client.ObjectKey{Namespace: account.Namespace, Name: access.Secret}, secret)
	if apierrors.IsNotFound(err) {
		return venues.Credentials{}, secretVersion{}, &credentialsError{v1alpha1.ReasonCredentialsNotFound, fmt.Sprintf(
			"Secret %q does not exist; create it with the keys %s, or correct spec.%s.credentialsRef.name",
			access.Secret, quoted(access.Keys), access.Field)}
	}
	if err != nil {
		return venues.Credentials{}, secretVersion{}, fmt.Errorf("read Secret %q: %w", access.Secret, err)
	}
	version := secretVersion{secret.UID, secret.ResourceVersion}
	for _, key := range access.Keys {
		if len(secret.Data[key]) == 0 {
			return venues.Credentials{}, version, &credentialsError{v1alpha1.ReasonCredentialsNotFound, fmt.Sprintf("Secret %q has no key %q; add it", access.Secret, key)}
		}
	}
	credentials, err := venues.ParseCredentials(account.Spec.Venue, secret.Data)
	if err != nil {
		return venues.Credentials{}, version, &credentialsError{v1alpha1.ReasonCredentialsInvalid, fmt.Sprintf("Secret %q: %s", access.Secret, err)}
	}
	return credentials, version, nil
}

func quoted(words []string) string {
	quotes := make([]string, len(words))
	for i, word := range words {
		quotes[i] = strconv.Quote(word)
	}
	return strings.Join(quotes, " and ")
}

// Product asks how an account trades a product; it is the listings' Ask.
func (v *Venues) Product(ctx context.Context, key listings.Key) (venue.Product, error) {
	account := &v1alpha1.TradingAccount{}
	err := v.Reader.Get(ctx, key.Account, account)
	if apierrors.IsNotFound(err) || err == nil && account.UID != key.UID {
		return venue.Product{}, listings.ErrGone
	}
	if err != nil {
		return venue.Product{}, fmt.Errorf("read the account: %w", err)
	}
	credentials, _, err := v.credentials(ctx, account)
	if err != nil {
		return venue.Product{}, err
	}
	return v.Real.Product(ctx, account.Spec.Venue, account.Access().Environment, credentials, key.Product)
}
