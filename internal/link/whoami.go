package link

import (
	"context"
	"fmt"

	authenticationv1 "k8s.io/api/authentication/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// WhoAmI is the user that the API server takes the client for.
func WhoAmI(ctx context.Context, asking client.Client) (string, error) {
	review := &authenticationv1.SelfSubjectReview{}
	if err := asking.Create(ctx, review); err != nil {
		return "", fmt.Errorf("ask the API server who I am: %w", err)
	}
	return review.Status.UserInfo.Username, nil
}
