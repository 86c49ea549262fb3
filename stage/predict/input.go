package predict

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/stage"
)

// MaxDataURI is how large, in bytes, a photo may be that DefaultInput sends along. Replicate advises against more.
const MaxDataURI = 1 << 20

// DefaultInput is the input of many models that change a picture:
//
//   - "image" is the payload's URL if that is one of https; otherwise the photo itself as a data URL, if it has at most
//     MaxDataURI bytes. A larger one is a permanent error: upload it first, in a function of your own.
//   - "prompt" is the request's, which a stage.Handler makes of room type, style and what the user wrote.
//   - "seed" is the request's, the same at each attempt.
//
// A function of one's own may begin with it and add to the map, which is new each time.
func DefaultInput(_ context.Context, req stage.Request) (map[string]any, error) {
	image := req.OriginalURL
	if !strings.HasPrefix(image, "https://") {
		if size := len(req.Original.Data); size > MaxDataURI {
			return nil, worker.Permanent(fmt.Errorf(
				"the photo has no https URL and %d bytes: the limit for sending it along is %d", size, MaxDataURI))
		}
		image = "data:" + req.Original.MediaType + ";base64," + base64.StdEncoding.EncodeToString(req.Original.Data)
	}
	return map[string]any{"image": image, "prompt": req.Prompt, "seed": req.Seed}, nil
}

// maxNesting is how many lists may be around what DefaultOutput takes. Each costs a look at all that is in it.
const maxNesting = 4

// DefaultOutput takes a string, the first of a list, or the field "image" or "url" of an object. A list may be the first
// of a list in turn, up to four deep.
func DefaultOutput(output json.RawMessage) (string, error) {
	output = firstOf(output)
	var text string
	if json.Unmarshal(output, &text) == nil && text != "" {
		return text, nil
	}
	var object struct{ Image, URL string }
	if json.Unmarshal(output, &object) == nil {
		if found := or(object.Image, object.URL); found != "" {
			return found, nil
		}
	}
	return "", errors.New("the output has none of the known forms: a URL, a list of them, an object with one as image or url")
}

// firstOf returns the first entry of a list, or of the list that this is, and so on. What is no list it returns as it is.
func firstOf(output json.RawMessage) json.RawMessage {
	for range maxNesting {
		list := json.NewDecoder(bytes.NewReader(output))
		var first json.RawMessage
		if begin, err := list.Token(); err != nil || begin != json.Delim('[') || !list.More() || list.Decode(&first) != nil {
			return output
		}
		output = first
	}
	return output
}
