// Package medium makes base media for tests, in Go and in milliseconds: ISO 9660 images with the directories, names and
// tables that a test asks for, small ones in memory and large ones as files with holes. They boot nothing; the tests that
// need media which do make them with xorriso and GRUB.
package medium
