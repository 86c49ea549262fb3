package stage

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
)

// told runs a job and returns what the model was told. The original isn't opened when the payload is refused.
func told(t *testing.T, change func(*Config), payload Payload) (string, error) {
	t.Helper()
	cfg := working()
	var prompt string
	opened := false
	source := cfg.Source
	cfg.Source = SourceFunc(func(ctx context.Context, url string) (Original, error) {
		opened = true
		return source.Open(ctx, url)
	})
	cfg.Model = ModelFunc(func(_ context.Context, req Request) (Picture, error) {
		prompt = req.Prompt
		assert.Equal(t, payload.Prompt, req.UserPrompt)
		return Picture{Data: pngRoom(2, 2)}, nil
	})
	change(&cfg)
	handler, err := NewHandler(cfg)
	require.NoError(t, err)
	err = handler.Handle(t.Context(), &worker.Job{ID: "1"}, payload)
	assert.Equal(t, err == nil, opened, "an original is opened only for a payload that is accepted")
	return prompt, err
}

func TestPrompt(t *testing.T) {
	const begin = "Virtual staging of the room in this photo."
	const keep = " Add fitting furniture and decoration. Keep walls, windows, doors, floor, ceiling, light and the camera's position."
	for _, row := range []struct {
		name                string
		change              func(*Config)
		room, style, wishes string
		want                string
	}{
		{"all", func(*Config) {}, "dining_room", "modern", "no rug", begin + " Room: dining room. Style: modern." + keep + " Wishes: no rug"},
		{"nothing", func(*Config) {}, "", "", "", begin + keep},
		{"only a room", func(*Config) {}, "office", "", "", begin + " Room: office." + keep},
		{"only a style", func(*Config) {}, "", "industrial", "", begin + " Style: industrial." + keep},
		{"the user's words are no template", func(*Config) {}, "", "", "{{.Style}} {{", begin + keep + " Wishes: {{.Style}} {{"},
		{"the host's words", func(c *Config) { c.PromptTemplate = "  {{words .RoomType}}/{{.Style}}: {{.Prompt}}\n" }, "living_room", "modern", "a cat", "living room/modern: a cat"},
		{"the user's words only", func(c *Config) { c.PromptTemplate = "{{.Prompt}}" }, "bedroom", "modern", "a cat", "a cat"},
		{"the host's lists", func(c *Config) {
			c.RoomTypes, c.Styles, c.PromptTemplate = []string{"Attic"}, []string{"boho"}, "{{.RoomType}} {{.Style}}"
		}, "Attic", "boho", "", "Attic boho"},
		{"any", func(c *Config) {
			c.RoomTypes, c.Styles, c.PromptTemplate = []string{Any}, []string{Any}, "{{.RoomType}} {{.Style}}"
		}, "Luftschloss", "très chic", "", "Luftschloss très chic"},
	} {
		t.Run(row.name, func(t *testing.T) {
			payload := validPayload()
			payload.RoomType, payload.Style, payload.Prompt = row.room, row.style, row.wishes
			got, err := told(t, row.change, payload)
			require.NoError(t, err)
			assert.Equal(t, row.want, got)
		})
	}
}

func TestDefaultListsAreAccepted(t *testing.T) {
	for _, payloads := range []struct {
		names []string
		set   func(*Payload, string)
	}{
		{DefaultRoomTypes(), func(p *Payload, name string) { p.RoomType = name }},
		{DefaultStyles(), func(p *Payload, name string) { p.Style = name }},
	} {
		for _, name := range payloads.names {
			payload := validPayload()
			payloads.set(&payload, name)
			_, err := told(t, func(*Config) {}, payload)
			assert.NoError(t, err, name)
		}
	}
	DefaultStyles()[0] = "changed"
	assert.Equal(t, "modern", DefaultStyles()[0], "nobody can change the defaults")
}

func TestPromptRefuses(t *testing.T) {
	for _, row := range []struct {
		name     string
		change   func(*Config)
		payload  func(*Payload)
		contains []string
	}{
		{"an unknown room type", func(*Config) {}, func(p *Payload) { p.RoomType = "garage" },
			[]string{`payload: room_type "garage" is unknown: accepted are living_room, bedroom, kitchen, bathroom, dining_room, office`}},
		{"an unknown style", func(*Config) {}, func(p *Payload) { p.Style = "boho" },
			[]string{`payload: style "boho" is unknown: accepted are modern, contemporary, traditional, industrial, scandinavian`}},
		{"both", func(*Config) {}, func(p *Payload) { p.RoomType, p.Style = "garage", "boho" }, []string{`room_type "garage"`, `style "boho"`}},
		{"another case", func(*Config) {}, func(p *Payload) { p.Style = "Modern" }, []string{`style "Modern" is unknown`}},
		{"a space", func(*Config) {}, func(p *Payload) { p.Style = " modern" }, []string{`style " modern" is unknown`}},
		{"control characters, a long one", func(*Config) {}, func(p *Payload) { p.Style = "\x1b[2J\n" + strings.Repeat("s", 100) },
			[]string{`style "\x1b[2J\n` + strings.Repeat("s", 55) + `" is unknown`}},
		{"any room, but a style of the list", func(c *Config) { c.RoomTypes = []string{Any} },
			func(p *Payload) { p.RoomType, p.Style = "garage", "boho" }, []string{`payload: style "boho" is unknown`}},
		{"a default that the host's list lacks", func(c *Config) { c.Styles = []string{"boho"} },
			func(p *Payload) { p.Style = "modern" }, []string{`style "modern" is unknown: accepted are boho`}},
		{"the star itself", func(*Config) {}, func(p *Payload) { p.Style = Any }, []string{`style "*" is unknown`}},
		{"wishes that are too long", func(*Config) {}, func(p *Payload) { p.Prompt = strings.Repeat("p", MaxPromptLength+1) },
			[]string{"payload: prompt has 4097 bytes: the limit is 4096"}},
		{"a template that makes too much of it", func(c *Config) { c.PromptTemplate = strings.Repeat("{{.Prompt}}", 5) },
			func(p *Payload) { p.Prompt = strings.Repeat("p", MaxPromptLength) },
			[]string{"payload: make a prompt of it: the prompt has 20480 bytes: the limit is 16384"}},
		{"a template that fails for it", func(c *Config) { c.PromptTemplate = `{{if eq .Prompt "x"}}{{index .Prompt 7}}{{end}}` },
			func(p *Payload) { p.Prompt = "x" }, []string{"payload: make a prompt of it: ", "out of range"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			payload := validPayload()
			row.payload(&payload)
			_, err := told(t, row.change, payload)
			require.Error(t, err)
			for _, text := range row.contains {
				assert.ErrorContains(t, err, text)
			}
			assert.True(t, worker.IsPermanent(err), "it would only happen again")
		})
	}
}

func TestNewHandlerTriesThePrompt(t *testing.T) {
	for _, row := range []struct {
		name, contains string
		change         func(*Config)
	}{
		{"no template", "PromptTemplate: template: prompt:1: unclosed action", func(c *Config) { c.PromptTemplate = "{{.Style" }},
		{"an unknown field", "PromptTemplate: ", func(c *Config) { c.PromptTemplate = "{{.Color}}" }},
		{"an unknown field of a payload without a style", "can't evaluate field Color", func(c *Config) { c.PromptTemplate = "{{if not .Style}}{{.Color}}{{end}}" }},
		{"an unknown field of a payload with one", "can't evaluate field Color", func(c *Config) { c.PromptTemplate = "{{with .Style}}{{$.Color}}{{end}}" }},
		{"too long by itself", "PromptTemplate: the prompt has 16385 bytes: the limit is 16384", func(c *Config) { c.PromptTemplate = strings.Repeat("p", MaxModelPromptLength+1) }},
		{"an empty room type", "RoomTypes: entry 1 is empty", func(c *Config) { c.RoomTypes = []string{"attic", ""} }},
		{"any and others", `Styles: "*" stands for all values`, func(c *Config) { c.Styles = []string{"boho", Any} }},
		{"twice the same", `Styles: "boho" is there twice`, func(c *Config) { c.Styles = []string{"boho", "boho"} }},
		{"too long a style", "has 129 bytes: the limit is 128", func(c *Config) { c.Styles = []string{strings.Repeat("s", 129)} }},
	} {
		t.Run(row.name, func(t *testing.T) {
			cfg := working()
			row.change(&cfg)
			_, err := NewHandler(cfg)
			require.ErrorContains(t, err, row.contains)
			assert.ErrorContains(t, err, "stage handler: ")
		})
	}
}

// The host may change its lists afterwards.
func TestNewHandlerCopiesTheLists(t *testing.T) {
	styles := []string{"boho"}
	cfg := working()
	cfg.Styles = styles
	handler, err := NewHandler(cfg)
	require.NoError(t, err)
	styles[0] = "changed"
	payload := validPayload()
	payload.Style = "boho"
	assert.NoError(t, handler.Handle(t.Context(), &worker.Job{ID: "1"}, payload))
}
