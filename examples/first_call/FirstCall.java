import dev.pagepool.sdk.ApiClient;
import dev.pagepool.sdk.api.PagesApi;
class FirstCall {
  public static void main(String[] arguments) throws Exception {
    PagesApi pages = new PagesApi(new ApiClient().setBasePath("http://127.0.0.1:8000"));
    pages.storePages(1, 42L, new byte[4096], null, null);
    System.out.println(pages.loadPages(1, 42L, null, null, null, null).length);
  }
}
