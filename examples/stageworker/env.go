package main

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// env reads variables and keeps all that is wrong with them, so that it can be told at once. An empty variable is one that
// isn't set. NAME_FILE names a file that holds the value of NAME, as systemd's credentials and Docker's secrets are files.
type env struct {
	get      func(name string) string
	problems []error
}

func (e *env) add(format string, args ...any) {
	e.problems = append(e.problems, fmt.Errorf(format, args...))
}

func (e *env) err() error { return errors.Join(e.problems...) }

// text is the value of a variable, or another one if it isn't set.
func (e *env) text(name, otherwise string) string {
	value, file := e.get(name), e.get(name+"_FILE")
	if file != "" {
		content, err := os.ReadFile(file)
		if value != "" {
			err = fmt.Errorf("%s is set as well", name)
		}
		if err != nil {
			e.add("%s_FILE: %w", name, err)
			return otherwise
		}
		value = strings.TrimRight(string(content), "\r\n")
	}
	if value == "" {
		return otherwise
	}
	return value
}

// required is the value of a variable that must be set. what says what it is for.
func (e *env) required(name, what string) string {
	problems := len(e.problems)
	value := e.text(name, "")
	if value == "" && problems == len(e.problems) {
		e.add("%s is missing: %s", name, what)
	}
	return value
}

// directory is required, and must be there.
func (e *env) directory(name, what string) string {
	dir := e.required(name, what)
	if info, err := os.Stat(dir); dir != "" && (err != nil || !info.IsDir()) {
		e.add("%s is %q: there is no such directory", name, dir)
	}
	return dir
}

// choice is one of several words, the first if the variable isn't set.
func (e *env) choice(name string, words ...string) string {
	value := e.text(name, words[0])
	if !slices.Contains(words, value) {
		e.add("%s is %.40q: it must be one of %s", name, value, strings.Join(words, ", "))
	}
	return value
}

// number is a whole number, at least 1.
func (e *env) number(name string, otherwise int64) int64 {
	text := e.text(name, "")
	if text == "" {
		return otherwise
	}
	value, err := strconv.ParseInt(text, 10, 64)
	if err != nil || value < 1 {
		e.add("%s is %.40q: it must be a whole number, at least 1", name, text)
	}
	return value
}

// duration is a time such as 90s or 10m, which is more than none.
func (e *env) duration(name string, otherwise time.Duration) time.Duration {
	text := e.text(name, "")
	if text == "" {
		return otherwise
	}
	value, err := time.ParseDuration(text)
	if err != nil || value <= 0 {
		e.add("%s is %.40q: it must be a time such as 90s or 10m", name, text)
	}
	return value
}

// address is the URL of a server. Empty if the variable isn't set. It is not repeated: it may hold a password.
func (e *env) address(name, example string) string {
	text := e.text(name, "")
	if u, err := url.Parse(text); text != "" &&
		(err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil) {
		e.add("%s must be like %s", name, example)
	}
	return text
}

// list is what stands between commas. Nil if the variable isn't set.
func (e *env) list(name string) []string {
	text := e.text(name, "")
	if text == "" {
		return nil
	}
	var entries []string
	for entry := range strings.SplitSeq(text, ",") {
		entries = append(entries, strings.TrimSpace(entry))
	}
	return entries
}
