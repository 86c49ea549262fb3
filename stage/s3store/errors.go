package s3store

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/real-staging-ai/go-worker/stage"
)

// errors.go: whose fault an error of the client is. What isn't judged here is worth another attempt.

// codes are those of the protocol's errors that decide something.
const (
	noSuchBucket        = "NoSuchBucket"
	invalidArgument     = "InvalidArgument"
	preconditionFailed  = "PreconditionFailed"
	conditionalConflict = "ConditionalRequestConflict"
	notImplemented      = "NotImplemented"
)

// ofWorker are the refusals that concern the worker's credentials or its clock, and no object: every job meets them, and
// an operator mends them.
var ofWorker = map[string]bool{
	"InvalidAccessKeyId":    true,
	"SignatureDoesNotMatch": true,
	"ExpiredToken":          true,
	"TokenRefreshRequired":  true,
	"InvalidToken":          true,
	"InvalidSecurity":       true,
	"NotSignedUp":           true,
	"AccountProblem":        true,
	"RequestTimeTooSkewed":  true,
	"RequestExpired":        true,
}

func judgeGet(err error, o object) error {
	code, status := answer(err)
	switch {
	case status == http.StatusNotFound && code != noSuchBucket,
		status == http.StatusMethodNotAllowed,      // the version says that the object was deleted
		o.version != "" && code == invalidArgument: // no object has such a version
		return fmt.Errorf("%w: %w", stage.ErrNotFound, err)
	}
	return judgePut(err)
}

func judgePut(err error) error {
	code, status := answer(err)
	if status == http.StatusForbidden && !ofWorker[code] {
		return fmt.Errorf("%w: %w", stage.ErrRefused, err)
	}
	return err
}

// alreadyThere reports whether a conditional put found an object.
func alreadyThere(err error) bool {
	code, status := answer(err)
	return status == http.StatusPreconditionFailed || code == preconditionFailed
}

// conditionFailed reports whether it was the condition that the server could not do.
func conditionFailed(err error) bool {
	code, status := answer(err)
	return code == conditionalConflict || code == notImplemented || status == http.StatusNotImplemented
}

// answer is what the server said in the end: nothing and zero when it said nothing.
func answer(err error) (code string, status int) {
	var api smithy.APIError
	if errors.As(err, &api) {
		code = api.ErrorCode()
	}
	var response *smithyhttp.ResponseError
	if errors.As(err, &response) {
		status = response.HTTPStatusCode()
	}
	return code, status
}
