package main

import "strings"

// staging is the payload of every job here: the size of a stage:run job's, about 210 bytes as JSON, unless Note makes it
// larger.
type staging struct {
	ImageID     string `json:"image_id"`
	OriginalURL string `json:"original_url"`
	RoomType    string `json:"room_type"`
	Style       string `json:"style"`
	Seed        int64  `json:"seed"`
	Note        string `json:"note,omitempty"`
}

const jobType = "stage:run"

// JobType implements worker.Payload.
func (staging) JobType() string { return jobType }

// Kind implements river.JobArgs.
func (staging) Kind() string { return "stage_run" }

// payload returns the i-th job's payload with a note of extra bytes. No two of one note are equal.
func payload(i, extra int) staging {
	return staging{
		ImageID: "0190b2c4-7d2e-7c3a-9a4e-3f1d2b5c6a7e", RoomType: "living_room", Style: "scandinavian", Seed: int64(i),
		OriginalURL: "https://uploads.example.com/tenants/42/originals/0190b2c4-7d2e-7c3a-9a4e.jpg",
		Note:        note(extra),
	}
}

// notes holds one long text that all notes are parts of, so that making a payload costs the same at every size.
var notes = strings.Repeat("the client wants it brighter ", 1+(64<<10)/29)

func note(extra int) string { return notes[:extra] }
