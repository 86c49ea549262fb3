package stage

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/template"
)

// prompt.go: which room types and styles there are, and how a payload becomes what a model is told.

// Any lets every value pass, as the only entry of Config.RoomTypes or Config.Styles.
const Any = "*"

// MaxModelPromptLength is how long a prompt may be that Config.PromptTemplate makes, in bytes.
const MaxModelPromptLength = 4 * MaxPromptLength

// DefaultPromptTemplate is what Config.PromptTemplate is when it is empty. The user's wishes come last, as they are the
// only words in it that are not the host's.
const DefaultPromptTemplate = `Virtual staging of the room in this photo.` +
	`{{with .RoomType}} Room: {{words .}}.{{end}}` +
	`{{with .Style}} Style: {{words .}}.{{end}}` +
	` Add fitting furniture and decoration. Keep walls, windows, doors, floor, ceiling, light and the camera's position.` +
	`{{with .Prompt}} Wishes: {{.}}{{end}}`

// DefaultRoomTypes returns what Config.RoomTypes means when it has no entries, for hosts that add to it.
func DefaultRoomTypes() []string {
	return []string{"living_room", "bedroom", "kitchen", "bathroom", "dining_room", "office"}
}

// DefaultStyles returns what Config.Styles means when it has no entries, for hosts that add to it.
func DefaultStyles() []string {
	return []string{"modern", "contemporary", "traditional", "industrial", "scandinavian"}
}

// PromptData is what Config.PromptTemplate is executed with: three fields of a Payload that was checked. Each may be
// empty. The template's function words turns names into text: "living_room" into "living room".
type PromptData struct{ RoomType, Style, Prompt string }

// prompter checks labels and makes prompts.
type prompter struct {
	roomTypes, styles []string
	template          *template.Template
}

// newPrompter expects defaults in the fields. It tries the template, so that a wrong one is found before any job is.
func newPrompter(c Config) (*prompter, error) {
	p := &prompter{roomTypes: c.RoomTypes, styles: c.Styles}
	problems := []error{checkLabels("RoomTypes", c.RoomTypes), checkLabels("Styles", c.Styles)}
	parsed, err := template.New("prompt").Funcs(template.FuncMap{"words": words}).Parse(c.PromptTemplate)
	if err == nil {
		p.template = parsed
		err = p.try(PromptData{}, PromptData{RoomType: "living_room", Style: "modern", Prompt: "warm light"})
	}
	if err != nil {
		problems = append(problems, fmt.Errorf("PromptTemplate: %w", err))
	}
	return p, errors.Join(problems...)
}

func checkLabels(field string, labels []string) error {
	var problems []error
	for i, label := range labels {
		switch {
		case label == "":
			problems = append(problems, fmt.Errorf("%s: entry %d is empty: an empty value always passes", field, i))
		case label == Any && len(labels) > 1:
			problems = append(problems, fmt.Errorf("%s: %q stands for all values: it must be the only entry", field, Any))
		case len(label) > MaxLabelLength:
			problems = append(problems, fmt.Errorf("%s: %.60q has %d bytes: the limit is %d",
				field, label, len(label), MaxLabelLength))
		case slices.Contains(labels[:i], label):
			problems = append(problems, fmt.Errorf("%s: %q is there twice", field, label))
		}
	}
	return errors.Join(problems...)
}

// words makes text of a name.
func words(name string) string { return strings.ReplaceAll(name, "_", " ") }

// try returns the first error.
func (p *prompter) try(examples ...PromptData) error {
	for _, data := range examples {
		if _, err := p.execute(data); err != nil {
			return err
		}
	}
	return nil
}

// prompt returns what the model is to be told. All errors are about the payload.
func (p *prompter) prompt(payload Payload) (string, error) {
	err := errors.Join(
		checkLabel("room_type", payload.RoomType, p.roomTypes),
		checkLabel("style", payload.Style, p.styles),
	)
	if err != nil {
		return "", err
	}
	prompt, err := p.execute(PromptData{RoomType: payload.RoomType, Style: payload.Style, Prompt: payload.Prompt})
	if err != nil {
		return "", fmt.Errorf("make a prompt of it: %w", err)
	}
	return prompt, nil
}

func checkLabel(field, value string, accepted []string) error {
	if value == "" || accepted[0] == Any || slices.Contains(accepted, value) {
		return nil
	}
	return fmt.Errorf("%s %.60q is unknown: accepted are %s", field, value, strings.Join(accepted, ", "))
}

// execute fails at a result that is too long, whatever made it so.
func (p *prompter) execute(data PromptData) (string, error) {
	var text strings.Builder
	if err := p.template.Execute(&text, data); err != nil {
		return "", err
	}
	prompt := strings.TrimSpace(text.String())
	return prompt, checkLength("the prompt", prompt, MaxModelPromptLength)
}
