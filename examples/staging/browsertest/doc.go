// Package browsertest drives the staging page as people do: a Chromium without a window, the program's API and worker as
// processes of their own, and a real Redis server between them. All of it is in the tests.
package browsertest
