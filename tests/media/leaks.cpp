// Libraries' own leaks, which are not ours to fix: libsndfile 1.2.0 keeps what it began of an OGG that it then refuses.

extern "C" const char* __lsan_default_suppressions();  // NOLINT(bugprone-reserved-identifier): AddressSanitizer's name

const char* __lsan_default_suppressions() {  // NOLINT(bugprone-reserved-identifier)
  return "leak:vorbis_info_init\n";
}
