// A program outside Thaw's tree: its sampler catalog, through find_package(Thaw).

#include <iostream>

#include "core/base/version.h"
#include "samplers/sampler.h"

int main() {
  thaw::SamplerRegistry samplers("sampler");
  thaw::register_samplers(samplers);
  std::cout << "thaw " << thaw::version() << '\n';
  for (const std::string& name : samplers.names()) std::cout << name << '\n';
  return samplers.contains("ddim") ? 0 : 1;
}
