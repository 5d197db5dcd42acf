package runner

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hpabench/hpabench/scenarios"
)

// authorization is the value of the header Authorization, empty without auth. It
// must not get into a record or a message. The error is a BadInput when there is
// no such variable, Secret or key. Without a Secret it asks no cluster, and c may be
// nil.
func (c *Cluster) authorization(ctx context.Context, file *scenarios.File, namespace string) (string, error) {
	switch a := file.Spec.Load.Auth; {
	case a == nil:
		return "", nil
	case a.Bearer != nil:
		token, err := c.credentials(ctx, file, "spec.load.auth.bearer", *a.Bearer, namespace)
		return "Bearer " + token, err
	default:
		password, err := c.credentials(ctx, file, "spec.load.auth.basic.password", a.Basic.Password, namespace)
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(a.Basic.Username+":"+password)), err
	}
}

// checkCredentials wants what comes from the environment to be there. A Secret may
// be created by the run itself.
func checkCredentials(file *scenarios.File) error {
	if secretOf(file.Spec.Load.Auth) != nil {
		return nil
	}
	var none *Cluster
	_, err := none.authorization(context.Background(), file, "")
	return err
}

// secretOf is the place of the credentials in a Secret; nil if they come from elsewhere.
func secretOf(a *scenarios.Auth) *scenarios.SecretKey {
	switch {
	case a != nil && a.Bearer != nil:
		return a.Bearer.Secret
	case a != nil && a.Basic != nil:
		return a.Basic.Password.Secret
	}
	return nil
}

func (c *Cluster) credentials(ctx context.Context, file *scenarios.File, at string, from scenarios.Credentials, namespace string) (string, error) {
	if from.Secret == nil {
		value := os.Getenv(from.Env)
		if value == "" {
			return "", BadInput{file.Fault(at+".env", fmt.Sprintf("the environment variable %s is empty or not set", from.Env), "export it before hpabench run")}
		}
		return value, nil
	}
	secret, err := c.Kube.CoreV1().Secrets(namespace).Get(ctx, from.Secret.Name, metav1.GetOptions{})
	if err != nil {
		return "", BadInput{file.Fault(at+".secret", fmt.Sprintf("reading Secret %s in namespace %s: %v", from.Secret.Name, namespace, err), "a manifest can create it; it must be in the workload's namespace")}
	}
	value, has := secret.Data[from.Secret.Key]
	if !has {
		return "", BadInput{file.Fault(at+".secret.key", fmt.Sprintf("Secret %s has no key %s", from.Secret.Name, from.Secret.Key), "")}
	}
	return string(value), nil
}
